-- A page of one of a queue's lists, with the messages.
-- include: bucket
-- flags: no-writes
-- KEYS[1] the queue; KEYS[2] the list or sorted set.
-- ARGV[1] first; [2] last position; [3] hash with more about each id ('stale', 'reasons', or '' for none); [4] what its
--   fields begin with; [5] most bytes of records (at least one entry comes).
-- Returns {id, score or false, record or false, more or false, ...}.
-- Cost: O(first + entries).
local call = redis.call
local entries, scores = {}, {}
if call('TYPE', KEYS[2]).ok == 'zset' then
    local found = call('ZRANGE', KEYS[2], ARGV[1], ARGV[2], 'WITHSCORES')
    for n = 1, #found, 2 do
        entries[#entries + 1], scores[#scores + 1] = found[n], found[n + 1]
    end
else
    entries = call('LRANGE', KEYS[2], ARGV[1], ARGV[2])
end
local reply, room = {}, tonumber(ARGV[5])
for n, id in ipairs(entries) do
    if room <= 0 then
        break
    end
    local record = call('HGET', body_key(id), id)
    room = room - (record and #record or 0)
    reply[#reply + 1] = id
    reply[#reply + 1] = scores[n] or false
    reply[#reply + 1] = record
    reply[#reply + 1] = ARGV[3] ~= '' and call('HGET', Q .. ':' .. ARGV[3], ARGV[4] .. id)
end
return reply
