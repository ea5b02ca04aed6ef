-- Include: leaving a follow-up for a queue in another slot.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket.
-- Returns: nothing; defines send(target, id, priority, due, body, code).
-- An entry is '<number> <priority>[;<code>] <enqueued> <due or -> <id> <body>'; numbers of one target leave no gap. The epoch
-- says which history of this queue they belong to: it differs if the queue's keys were lost and begun anew.
local function send(target, id, priority, due, body, code)
    call('HSETNX', Q .. ':meta', 'epoch', digits(now))
    local number = call('HINCRBY', Q .. ':sent', target, 1)
    local head = number .. ' ' .. (code and priority .. ';' .. code or priority) .. ' ' .. digits(now) .. ' ' .. (due and digits(due) or '-') .. ' ' .. id .. ' '
    call('RPUSH', Q .. ':outbox:' .. target, head .. body)
    call('SADD', Q .. ':outboxes', target)
end
