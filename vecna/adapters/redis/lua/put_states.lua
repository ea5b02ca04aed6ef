-- Record states of tasks, each if it may follow what is recorded.
-- include: time
-- flags: allow-oom
-- KEYS the records.
-- ARGV[1] now; ARGV[2] what names of channels begin with, '' to tell nobody; then each record as it is to be stored.
-- Effect: an end is never replaced; others move forward by (lease, rank). An end is noted as not released in the sorted
--   set beside the record, and published. A callback that waits is noted in the sorted set '<index>:-' as long as it does.
-- Returns for each record 0 if it was written, else the payload that stands.
-- Cost: some four commands a record. A record is '<kind> <lease, 14 digits> <rank> <expires at ms, 14 digits> <payload>';
--   kind: 1 an end, 2 a callback that waits, 0 anything else.
local answers, score, sub = {}, digits(now), string.sub
for n, key in ipairs(KEYS) do
    local record = ARGV[n + 2]
    local old, final = call('GETRANGE', key, 0, 33), sub(record, 1, 1) == '1'
    local expires = old ~= '' and tonumber(sub(old, 20, 33)) or 0
    if old ~= '' and (expires == 0 or expires > now)
        and (sub(old, 1, 1) == '1' or (not final and sub(record, 3, 18) < sub(old, 3, 18))) then
        answers[n] = sub(call('GET', key), 35)
    else
        answers[n] = 0
        call('SET', key, record)
        local waits = sub(record, 1, 1) == '2'
        if waits or sub(old, 1, 1) == '2' then
            local index, id = string.match(key, '^(.-}):(.*)$')
            if waits then call('ZADD', index .. ':-', score, id) else call('ZREM', index .. ':-', id) end
        end
        if final then
            local index, id = string.match(key, '^(.-}):(.*)$')
            call('ZADD', index, score, id)
            if ARGV[2] ~= '' then
                call('PUBLISH', ARGV[2] .. id, '')
            end
        end
    end
end
return answers
