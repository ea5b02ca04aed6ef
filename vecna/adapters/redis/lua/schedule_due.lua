-- Schedules that are due.
-- include: time bucket schedule
-- flags: no-writes
-- KEYS[1] the schedules.
-- ARGV[1] now; [2] most schedules; [3] how many to leave out; [4] most bytes of records (at least one comes).
-- Returns {now, when the next further one is due or false, 1 if something waits in outboxes or 0, code, head or false,
--   record or false, ...}, the earliest first. With no schedules asked for, now is later than every removal, even if the clock stands still.
-- Cost: O(log n + schedules).
local limit, first, room = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local due = Q .. ':due'
local reply = {digits(limit > 0 and micros or math.max(micros, newest() + 1)), false, call('EXISTS', Q .. ':outboxes')}
local found = call('ZRANGE', due, '-inf', digits(micros), 'BYSCORE', 'LIMIT', first, limit + 1, 'WITHSCORES')
local at = 1
while at <= #found and at < 2 * limit and room > 0 do
    local record = call('HGET', Q .. ':records', found[at])
    room = room - (record and #record or 0)
    reply[#reply + 1] = found[at]
    reply[#reply + 1] = call('HGET', Q .. ':heads', found[at])
    reply[#reply + 1] = record
    at = at + 2
end
local further = found[at + 1]
if not further then
    further = call('ZRANGE', due, '(' .. digits(micros), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')[2]
end
reply[2] = further or false
return reply
