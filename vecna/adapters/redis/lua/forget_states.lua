-- Drop records of tasks.
-- flags: allow-oom
-- KEYS the records.
-- ARGV: none.
-- Effect: removes each record, and its entry in the index of those not released.
-- Returns how many there were.
-- Cost: two commands a record.
local dropped = 0
for _, key in ipairs(KEYS) do
    dropped = dropped + redis.call('DEL', key)
    redis.call('ZREM', string.match(key, '^(.-}):(.*)$'))
end
return dropped
