-- Drop follow-ups that have arrived.
-- include: bucket
-- flags: allow-oom
-- KEYS[1] the queue that left them.
-- ARGV[1] epoch; then pairs of target and the number up to which all have arrived.
-- Effect: removes these entries; nothing if the epoch is another.
-- Returns how many entries are left for all targets.
-- Cost: O(targets + removed).
local call = redis.call
if (call('HGET', Q .. ':meta', 'epoch') or '0') == ARGV[1] then
    for n = 2, #ARGV, 2 do
        local key = Q .. ':outbox:' .. ARGV[n]
        local count, arrived = 0, tonumber(ARGV[n + 1])
        local entry = call('LINDEX', key, 0)
        while entry and tonumber(string.match(entry, '^%d+')) <= arrived do
            count = count + 1
            entry = call('LINDEX', key, count)
        end
        if count > 0 then
            call('LTRIM', key, count, -1)
        end
        if call('EXISTS', key) == 0 then
            call('SREM', Q .. ':outboxes', ARGV[n])
        end
    end
end
local left = 0
for _, target in ipairs(call('SMEMBERS', Q .. ':outboxes')) do
    left = left + call('LLEN', Q .. ':outbox:' .. target)
end
return left
