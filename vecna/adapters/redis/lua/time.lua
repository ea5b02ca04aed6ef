-- Include: what the script takes for now, and how instants are written.
-- KEYS: none.
-- ARGV[1] milliseconds since 1970 of a virtual clock; 0: the server's own time, read once.
-- Returns: nothing; defines `now` (a number, whole milliseconds) and `digits(number)`, exact up to the year 9999.
local call = redis.call
local now = tonumber(ARGV[1])
if now == 0 then
    local time = call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function digits(number)
    return string.format('%.0f', number)
end
