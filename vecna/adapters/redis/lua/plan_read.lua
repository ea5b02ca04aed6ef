-- Read fields of a node.
-- flags: no-writes
-- KEYS[1] the node.
-- ARGV[1] most bytes, at least one value comes; then fields.
-- Returns when it expires, false if never; then the values of the fields, false for what is not there; fewer than asked
--   for when they are large.
-- Cost: one command a field.
local reply, room = {redis.call('HGET', KEYS[1], 'expires')}, tonumber(ARGV[1])
for n = 2, #ARGV do
    if room <= 0 then
        break
    end
    local value = redis.call('HGET', KEYS[1], ARGV[n])
    room = room - (value and #value or 0)
    reply[n] = value
end
return reply
