-- Read schedules by their codes.
-- include: time bucket schedule
-- flags: no-writes
-- KEYS[1] the schedules.
-- ARGV[1] now; [2] most bytes of records (at least one comes); then codes, at most 500.
-- Returns for each {head or false, record or false, when it was removed last or false, its version then or false}, one
--   after another. Fewer when records are large: call again with the codes that are left.
-- Cost: O(1) a code.
local reply, room = {}, tonumber(ARGV[2])
for n = 3, #ARGV do
    if room <= 0 then
        break
    end
    local record = call('HGET', Q .. ':records', ARGV[n])
    room = room - (record and #record or 0)
    reply[#reply + 1] = call('HGET', Q .. ':heads', ARGV[n])
    reply[#reply + 1] = record
    reply[#reply + 1] = removal(ARGV[n])
    reply[#reply + 1] = call('HGET', Q .. ':versions', ARGV[n])
end
return reply
