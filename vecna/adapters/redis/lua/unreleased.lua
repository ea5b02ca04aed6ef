-- Ids that stand in indexes of records for long: ends that were never released, callbacks that wait.
-- include: time
-- flags: no-writes
-- KEYS the indexes, one a bucket.
-- ARGV[1] now; [2] least age ms; [3] most ids of each index.
-- Returns {id, recorded at ms, id, recorded at ms, ...}, the oldest of each index first.
-- Cost: O(indexes + ids).
local reply = {}
for _, key in ipairs(KEYS) do
    local found = call('ZRANGE', key, '-inf', digits(now - ARGV[2]), 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
    for _, entry in ipairs(found) do
        reply[#reply + 1] = entry
    end
end
return reply
