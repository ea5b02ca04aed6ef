-- Include: what the script takes for now, and how instants are written.
-- KEYS: none.
-- ARGV[1] microseconds since 1970 of a virtual clock; 0: the server's own time, read once.
-- Returns: nothing; defines `now`, whole milliseconds; `ahead`, the same rounded up, from which durations count, so that
--   none is too short; `micros`, the same in microseconds; and `digits(number)`, exact up to the year 9999.
local call = redis.call
local micros = tonumber(ARGV[1])
if micros == 0 then
    local time = call('TIME')
    micros = time[1] * 1000000 + time[2]
end
local now, ahead = math.floor(micros / 1000), math.ceil(micros / 1000)
local function digits(number)
    return string.format('%.0f', number)
end
