-- Store a schedule, if all is still as it was read.
-- include: time bucket schedule
-- flags:
-- KEYS[1] the schedules.
-- ARGV[1] now; [2] code; then what was read, each '' if there was none: [3] head, [4] SHA-1 of the record, [5] when it
--   was removed last; and what is to be stored: [6] head, [7] record.
-- Effect: as said. Refused when memory is full.
-- Returns 1 if it was stored, 0 if something has changed.
-- Cost: O(log n).
local code = ARGV[2]
local record = call('HGET', Q .. ':records', code)
if (call('HGET', Q .. ':heads', code) or '') ~= ARGV[3]
    or (record and redis.sha1hex(record) or '') ~= ARGV[4]
    or (removal(code) or '') ~= ARGV[5] then
    return 0
end
call('HSET', Q .. ':records', code, ARGV[7])
write(code, string.match(ARGV[6], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S*)$'))
return 1
