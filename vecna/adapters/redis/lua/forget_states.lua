-- Drop records of tasks.
-- flags: allow-oom
-- KEYS the records.
-- ARGV: none.
-- Effect: removes each record, and its entry in the indexes of its bucket.
-- Returns how many there were.
-- Cost: three commands a record.
local dropped = 0
for _, key in ipairs(KEYS) do
    local index, id = string.match(key, '^(.-}):(.*)$')
    dropped = dropped + redis.call('DEL', key)
    redis.call('ZREM', index, id)
    redis.call('ZREM', index .. ':-', id)
end
return dropped
