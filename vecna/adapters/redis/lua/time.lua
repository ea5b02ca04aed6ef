-- Include: what the script takes for now, and how instants are written.
-- KEYS: none.
-- ARGV[1] microseconds since 1970 of a virtual clock; 0: the server's own time, read once.
-- Returns: nothing; defines `now`, whole milliseconds; `ahead`, the same rounded up, from which durations count, so that
--   none is too short; and `digits(number)`, exact up to the year 9999.
local call = redis.call
local now = tonumber(ARGV[1]) / 1000
if now == 0 then
    local time = call('TIME')
    now = time[1] * 1000 + time[2] / 1000
end
local ahead = math.ceil(now)
now = math.floor(now)
local function digits(number)
    return string.format('%.0f', number)
end
