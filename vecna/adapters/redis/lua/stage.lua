-- Accept messages that wait until they are let go.
-- include: time bucket mark place
-- flags:
-- KEYS[1] the queue; KEYS[2] the registry of queues, left out where it lies in another slot.
-- ARGV[1] now; [2] the queue's name; [3] name of the hold; then for each message: id,
--   '<priority>[@<due>][+<delay>][;<code>]', body.
-- Effect: stores bodies; puts ids into the sorted set of the hold in the order given, and notes in the hash `staged`
--   '<priority> <due or -> <hold>'. Refused as a whole when memory is full.
-- Returns the positions (from 0) of messages that are not new.
-- Cost: one HSETNX a message, O(log held).
local hold, known, entries, places = Q .. ':hold:' .. ARGV[3], {}, {}, {}
local last = tonumber(call('ZRANGE', hold, -1, -1, 'WITHSCORES')[2] or 0)
if KEYS[2] then
    call('SADD', KEYS[2], ARGV[2])
end
for n = 4, #ARGV, 3 do
    local id = ARGV[n]
    local priority, due, code = parse(ARGV[n + 1])
    if keep(id, priority, digits(now), due, ARGV[n + 2], code) then
        last = last + 1
        entries[#entries + 1], entries[#entries + 2] = digits(last), id
        places[#places + 1], places[#places + 2] = id, priority .. ' ' .. (due and digits(due) or '-') .. ' ' .. ARGV[3]
    else
        known[#known + 1] = (n - 4) / 3
    end
end
if #entries > 0 then
    push('ZADD', hold, entries)
    push('HSET', Q .. ':staged', places)
    call('ZADD', Q .. ':holds', 'NX', digits(now), ARGV[3])
end
return known
