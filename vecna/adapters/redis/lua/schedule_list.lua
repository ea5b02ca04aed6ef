-- A page of all schedules: those that are not paused, the next due first, then the paused ones; equal ones by code.
-- include: bucket
-- flags: no-writes
-- KEYS[1] the schedules.
-- ARGV[1] how many to leave out; [2] most schedules; [3] most bytes of records (at least one comes).
-- Returns {code, head or false, record or false, ...}; nothing if there are no more.
-- Cost: O(log n + schedules).
local call = redis.call
local first, count, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local reply = {}
if count <= 0 then
    return reply
end
local codes = call('ZRANGE', Q .. ':due', first, first + count - 1)
if #codes < count then
    first = math.max(0, first - call('ZCARD', Q .. ':due'))
    for _, code in ipairs(call('ZRANGE', Q .. ':paused', first, first + count - #codes - 1)) do
        codes[#codes + 1] = code
    end
end
for _, code in ipairs(codes) do
    if room <= 0 then
        break
    end
    local record = call('HGET', Q .. ':records', code)
    room = room - (record and #record or 0)
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = code, call('HGET', Q .. ':heads', code), record
end
return reply
