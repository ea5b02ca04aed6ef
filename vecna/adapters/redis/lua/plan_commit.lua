-- Note that all of a workflow's first tasks are with the broker.
-- include: time
-- flags: allow-oom
-- KEYS[1] the root.
-- ARGV[1] now; [2] its id.
-- Effect: it counts as sent, and leaves its bucket's index of those not committed.
-- Returns 1 if it is committed now; 0 if it is unknown, or has failed before it was.
-- Cost: three commands.
local found = call('HMGET', KEYS[1], 'is', 'status', 'sent', 'expires')
if not found[1] or (found[4] and tonumber(found[4]) <= now) or (found[2] == 'failed' and not found[3]) then
    return 0
end
call('ZREM', string.sub(KEYS[1], 1, #KEYS[1] - #ARGV[2] - 2) .. 'uncommitted', ARGV[2])
call('HSET', KEYS[1], 'sent', '1')
return 1
