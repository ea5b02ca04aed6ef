-- Take a lock if it is free or has expired, or renew it for the owner that holds it.
-- include: time
-- flags:
-- KEYS[1] the holder; KEYS[2] the fence counter, which is never deleted.
-- ARGV[1] now; [2] owner; [3] time to live ms; [4] '1' to let the server collect what has expired.
-- Effect: the holder is '<owner> <expires at ms> <fence>'.
-- Returns the fence, 0 if another holds it.
-- Cost: O(1).
local owner, expires, fence = string.match(call('GET', KEYS[1]) or '', '^(%S+) (%d+) (%d+)$')
if owner and tonumber(expires) > now then
    if owner ~= ARGV[2] then
        return 0
    end
else
    fence = digits(call('INCR', KEYS[2]))
end
call('SET', KEYS[1], ARGV[2] .. ' ' .. digits(now + ARGV[3]) .. ' ' .. fence)
if ARGV[4] == '1' then
    call('PEXPIREAT', KEYS[1], digits(now + ARGV[3]))
end
return tonumber(fence)
