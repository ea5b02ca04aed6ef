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
-- Shares, and targets in any order: one that cannot be reached does not keep those of others back.
local targets = left > 0 and call('SRANDMEMBER', Q .. ':outboxes', left) or {}
local share, portion = math.ceil(left / math.max(#targets, 1)), math.ceil(room / math.max(#targets, 1))
for _, target in ipairs(targets) do
    local entries, bytes, most = {}, 0, math.min(share, left)
    while #entries < most and bytes < portion do
        local entry = call('LINDEX', Q .. ':outbox:' .. target, #entries)
        if not entry then
            break
        end
        entries[#entries + 1], bytes = entry, bytes + #entry
    end
    left = left - #entries
    if #entries > 0 then
        reply[#reply + 1], reply[#reply + 2] = target, entries
    end
end
return reply
