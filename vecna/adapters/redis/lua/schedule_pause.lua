-- Pause a schedule, or resume it.
-- include: time bucket schedule
-- flags: allow-oom
-- KEYS[1] the schedules.
-- ARGV[1] now; [2] code; [3] '1' to pause, '0' to resume; [4] resumed: when it is due next ('': as before).
-- Effect: as said; none if it is paused, or not, already. Resuming never brings back what was due before.
-- Returns {head or false, record or false} as they are then.
-- Cost: O(log n).
local code = ARGV[2]
local version, next_at, paused, skipped, last, uuid = read(code)
if version and paused ~= ARGV[3] then
    if ARGV[3] == '0' and ARGV[4] ~= '' and tonumber(ARGV[4]) > tonumber(next_at) then
        next_at = ARGV[4]
    end
    write(code, version, next_at, ARGV[3], skipped, last, uuid)
end
return {call('HGET', Q .. ':heads', code), call('HGET', Q .. ':records', code)}
