-- Read follow-ups that wait in a queue's outboxes.
-- include: bucket
-- flags: no-writes
-- KEYS[1] the queue.
-- ARGV[1] most entries; ARGV[2] most bytes (at least one entry comes).
-- Returns {epoch, target, {entry, ...}, target, {entry, ...}, ...}.
-- Cost: O(targets + entries).
local call = redis.call
local left, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local reply = {call('HGET', Q .. ':meta', 'epoch') or '0'}
for _, target in ipairs(call('SMEMBERS', Q .. ':outboxes')) do
    local key, entries = Q .. ':outbox:' .. target, {}
    while left > 0 and room > 0 do
        local found = call('LRANGE', key, #entries, #entries + math.min(left, 50) - 1)
        if #found == 0 then
            break
        end
        for _, entry in ipairs(found) do
            if left > 0 and room > 0 then
                entries[#entries + 1] = entry
                left, room = left - 1, room - #entry
            end
        end
    end
    if #entries > 0 then
        reply[#reply + 1], reply[#reply + 2] = target, entries
    end
end
return reply
