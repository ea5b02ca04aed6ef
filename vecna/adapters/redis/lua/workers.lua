-- A page of the workers that are there.
-- include: time
-- flags: no-writes
-- KEYS[1] hash of records; KEYS[2] sorted set of ids by until when they count.
-- ARGV[1] now; [2] how many to leave out; [3] how many at most.
-- Returns records; false for one that is missing.
-- Cost: O(log n + left out + workers).
local ids = call('ZRANGE', KEYS[2], '(' .. digits(now), '+inf', 'BYSCORE', 'LIMIT', ARGV[2], ARGV[3])
return #ids > 0 and call('HMGET', KEYS[1], unpack(ids)) or {}
