-- Start the expiry of nodes of a workflow that is over.
-- include: time
-- flags: allow-oom
-- KEYS the nodes.
-- ARGV[1] now; [2] keep ms, 0 for at once; [3] '1' to let the server collect what has expired; then the ids.
-- Effect: writes when each expires, once; a root leaves its bucket's index of those not committed.
-- Returns how many were released.
-- Cost: some five commands a node.
local keep, released = tonumber(ARGV[2]), 0
for n, key in ipairs(KEYS) do
    local id = ARGV[3 + n]
    local base = string.sub(key, 1, #key - #id - 2)
    local members = base .. 'm:' .. id
    local found = call('HMGET', key, 'is', 'expires')
    if found[1] and not found[2] then
        released = released + 1
        call('ZREM', base .. 'uncommitted', id)
        if keep <= 0 then
            call('UNLINK', key, members)
        else
            call('HSET', key, 'expires', digits(ahead + keep))
            if ARGV[3] == '1' then
                call('PEXPIREAT', key, digits(ahead + keep))
                call('PEXPIREAT', members, digits(ahead + keep))
            end
        end
    end
end
return released
