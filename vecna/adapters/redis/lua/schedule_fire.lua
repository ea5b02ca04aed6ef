-- Fire occurrences of schedules, each only if it is still what is due next.
-- include: time bucket mark place outbox schedule
-- flags:
-- KEYS[1] the schedules.
-- ARGV[1] now; then for each firing: code, version, due, following ('': it was the last), occurred ('': none is sent),
--   uuid ('' the same), skipped, '1' if following may be past, n, and n times queue, id, mark, body of a message.
-- Effect: per firing: moves the schedule on, or removes it, and numbers its messages in outboxes. Refused as a whole when
--   memory is full.
-- Returns a string, for each firing one of: f fired, l lost, s stale.
-- Cost: O(log n) a firing, O(1) a message.
local at, answers = 2, {}
while at <= #ARGV do
    local code, following, count = ARGV[at], ARGV[at + 3], tonumber(ARGV[at + 8])
    local version, next_at, paused, skipped, last, uuid = read(code)
    if version ~= ARGV[at + 1] or next_at ~= ARGV[at + 2] or (paused ~= '0' and following ~= next_at) then
        answers[#answers + 1] = 'l'
    elseif following ~= '' and ARGV[at + 7] ~= '1' and tonumber(following) <= micros then
        answers[#answers + 1] = 's'
    elseif following == next_at and uuid ~= '' and uuid == ARGV[at + 5] then
        -- The same call again: an extra occurrence leaves the due time as it is.
        answers[#answers + 1] = 'f'
    else
        answers[#answers + 1] = 'f'
        if following == '' then
            remove(code)
        else
            last = ARGV[at + 4] ~= '' and ARGV[at + 4] or last
            uuid = ARGV[at + 5] ~= '' and ARGV[at + 5] or uuid
            write(code, version, following, paused, digits(skipped + ARGV[at + 6]), last, uuid)
        end
        for message = at + 9, at + 5 + 4 * count, 4 do
            local priority, due, shared = parse(ARGV[message + 2])
            send(ARGV[message], ARGV[message + 1], priority, due, ARGV[message + 3], shared)
        end
    end
    at = at + 9 + 4 * count
end
return table.concat(answers)
