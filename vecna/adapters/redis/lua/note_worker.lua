-- Say that a worker is there, or is there no more.
-- include: time
-- flags: allow-oom
-- KEYS[1] hash of records; KEYS[2] sorted set of ids by until when they count.
-- ARGV[1] now; [2] id; [3] how long it counts, ms; [4] record.
-- Effect: stores it in place of what was there; drops up to 100 that count no more.
-- Returns how many were dropped.
-- Cost: O((1 + dropped) * log n).
call('HSET', KEYS[1], ARGV[2], ARGV[4])
call('ZADD', KEYS[2], digits(ARGV[3] + now), ARGV[2])
local gone = call('ZRANGE', KEYS[2], '-inf', digits(now), 'BYSCORE', 'LIMIT', 0, 100)
if #gone > 0 then
    call('HDEL', KEYS[1], unpack(gone))
    call('ZREM', KEYS[2], unpack(gone))
end
return #gone
