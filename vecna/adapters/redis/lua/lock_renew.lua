-- Make a grant last longer, or end it, if it is still held.
-- include: time
-- flags: allow-oom
-- KEYS[1] the holder.
-- ARGV[1] now; [2] owner; [3] fence; [4] time to live ms, -1 to release; [5] '1' to let the server collect what has
--   expired.
-- Returns 1, or 0 if the grant is no longer held (then nothing changes).
-- Cost: O(1).
local owner, expires, fence = string.match(call('GET', KEYS[1]) or '', '^(%S+) (%d+) (%d+)$')
if owner ~= ARGV[2] or fence ~= ARGV[3] or tonumber(expires) <= now then
    return 0
end
if ARGV[4] == '-1' then
    call('DEL', KEYS[1])
    return 1
end
call('SET', KEYS[1], owner .. ' ' .. digits(now + ARGV[4]) .. ' ' .. fence)
if ARGV[5] == '1' then
    call('PEXPIREAT', KEYS[1], digits(now + ARGV[4]))
end
return 1
