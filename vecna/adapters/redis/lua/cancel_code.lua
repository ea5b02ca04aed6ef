-- Stop a page of the messages that share a code.
-- include: time bucket place stop
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; [2] code; [3] cursor of SSCAN; [4] about how many; [5] most bytes of records to read; then ids that are
--   left over from the page before: if there are any, no further ones are read.
-- Effect: as that of cancel.lua, for each id that has the code.
-- Returns {cursor, '0' if there is no further page; ids canceled; ids running; ids left over}.
-- Cost: as cancel.lua.
local members, cursor, ids = Q .. ':code:' .. ARGV[2], ARGV[3], {}
if #ARGV > 5 then
    local found = {unpack(ARGV, 6)}
    for n, present in ipairs(call('SMISMEMBER', members, unpack(found))) do
        if present == 1 then
            ids[#ids + 1] = found[n]
        end
    end
else
    local page = call('SSCAN', members, cursor, 'COUNT', ARGV[4])
    cursor, ids = page[1], page[2]
end
-- A set that was small is read at once, however many are asked for.
local answers = stop({unpack(ids, 1, 500)}, tonumber(ARGV[5]))
finish()
local canceled, running = {}, {}
for n, answer in ipairs(answers) do
    if answer == 'c' then
        canceled[#canceled + 1] = ids[n]
    elseif answer == 'r' then
        running[#running + 1] = ids[n]
    end
end
return {cursor, canceled, running, {unpack(ids, #answers + 1)}}
