-- Let messages go that were held back.
-- include: time bucket place
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; [2] name of the hold; [3] most messages, at most 500; [4] '1' to end them with the verdict 'canceled'.
-- Effect: moves them, the first that were staged first, to the pending lists, the delayed set, or `ending`. No record is
--   read: the hash `staged` has what is needed.
-- Returns how many are still held.
-- Cost: O(messages * log n).
local hold, limit = Q .. ':hold:' .. ARGV[2], tonumber(ARGV[3])
local ids = limit > 0 and call('ZRANGE', hold, 0, limit - 1) or {}
if #ids > 0 then
    local places = call('HMGET', Q .. ':staged', unpack(ids))
    push('HDEL', Q .. ':staged', ids)
    call('ZREMRANGEBYRANK', hold, 0, #ids - 1)
    if ARGV[4] == '1' then
        doom(ids, 'canceled')
    else
        for n, id in ipairs(ids) do
            local priority, due = string.match(places[n] or '', '^(%d) (%S+)')
            if priority then
                wait_until(id, priority, tonumber(due))
            end
        end
    end
end
local left = call('ZCARD', hold)
if left == 0 then
    call('ZREM', Q .. ':holds', ARGV[2])
end
finish()
return left
