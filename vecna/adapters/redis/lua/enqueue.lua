-- Accept messages; one whose id the queue holds already changes nothing.
-- include: time bucket mark place
-- flags:
-- KEYS[1] the queue; KEYS[2] the registry of queues, left out where it lies in another slot.
-- ARGV[1] now; ARGV[2] the queue's name; then for each message: id, '<priority>[@<due>][+<delay>][;<code>]', body.
-- Effect: stores bodies, puts ids into pending lists or the delayed set, wakes one waiter. Refused as a whole when
--   memory is full.
-- Returns the positions (from 0) of messages that are not new.
-- Cost: one HSETNX a message, one RPUSH a priority; a delayed one O(log delayed); one SADD for a shared code.
local known = {}
if KEYS[2] then
    call('SADD', KEYS[2], ARGV[2])
end
for n = 3, #ARGV, 3 do
    local id = ARGV[n]
    local priority, due, code = parse(ARGV[n + 1])
    if not store(id, priority, digits(now), due, ARGV[n + 2], code) then
        known[#known + 1] = n / 3 - 1
    end
end
finish()
return known
