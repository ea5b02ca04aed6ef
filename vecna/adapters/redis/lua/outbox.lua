-- Include: leaving a follow-up for a queue in another slot.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket.
-- Returns: nothing; defines send(target, id, priority, due, body, code).
-- An entry is '<number><<before> <priority>[;<code>] <enqueued> <due or -> <id> <body>', with the number of the one before
-- it for this target, so that nobody takes one before the other. Numbers are the microseconds of the server's clock: a
-- replica that was behind when it took over does not give one again that its master gave, and that has arrived.
-- The epoch says which history of this queue they belong to: it differs if the queue's keys were lost and begun anew.
local function send(target, id, priority, due, body, code)
    call('HSETNX', Q .. ':meta', 'epoch', digits(now))
    local before = tonumber(call('HGET', Q .. ':sent', target) or 0)
    local number = digits(math.max(before + 1, micros))
    call('HSET', Q .. ':sent', target, number)
    local head = number .. '<' .. digits(before) .. ' ' .. (code and priority .. ';' .. code or priority) .. ' ' .. digits(now) .. ' ' .. (due and digits(due) or '-') .. ' ' .. id .. ' '
    call('RPUSH', Q .. ':outbox:' .. target, head .. body)
    call('SADD', Q .. ':outboxes', target)
end
