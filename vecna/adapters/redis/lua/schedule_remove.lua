-- Remove a schedule, and remember that.
-- include: time bucket schedule
-- flags: allow-oom
-- KEYS[1] the schedules.
-- ARGV[1] now; [2] code.
-- Effect: as said, also if there is none: a registration may be under way.
-- Returns 1 if it was there, else 0.
-- Cost: O(log n).
local there = call('HEXISTS', Q .. ':heads', ARGV[2]) + call('HEXISTS', Q .. ':records', ARGV[2])
remove(ARGV[2])
return there > 0 and 1 or 0
