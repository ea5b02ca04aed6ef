-- Include: delayed messages whose time has come become pending, in order of time.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket, place.
-- Returns: nothing; defines promote(limit). Reads each body for its priority; an id without a body is dropped.
local function promote(limit)
    local delayed = Q .. ':delayed'
    local due = call('ZRANGE', delayed, '-inf', '(' .. digits(now + 1), 'BYSCORE', 'LIMIT', 0, limit)
    if #due == 0 then
        return
    end
    local lines = {}
    for _, id in ipairs(due) do
        local record = call('HGET', body_key(id), id)
        if record then
            local priority = sub(record, 1, 1)
            local line = lines[priority]
            if line then line[#line + 1] = id else lines[priority] = {id} end
        end
    end
    for priority, ids in pairs(lines) do
        push('RPUSH', Q .. ':p:' .. priority, ids)
    end
    push('ZREM', delayed, due)
end
