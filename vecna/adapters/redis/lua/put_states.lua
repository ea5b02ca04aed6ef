-- Record states of tasks, each if it may follow what is recorded.
-- include: time
-- flags: allow-oom
-- KEYS the records.
-- ARGV[1] now; ARGV[2] what names of channels begin with, '' to tell nobody; then for each record: id,
--   '<1 if an end, else 0> <lease, 14 digits> <rank>', payload.
-- Effect: an end is never replaced; others move forward by (lease, rank). An end is noted as not released in the sorted
--   set beside the record, and published.
-- Returns for each record 0 if it was written, else the payload that stands.
-- Cost: some four commands a record. A record is '<head> <expires at ms, 14 digits> <payload>'.
local answers = {}
for n, key in ipairs(KEYS) do
    local id, head, payload = ARGV[3 * n], ARGV[3 * n + 1], ARGV[3 * n + 2]
    local old = call('GETRANGE', key, 0, 33)
    local expires = tonumber(string.sub(old, 20, 33)) or 0
    if old ~= '' and (expires == 0 or expires > now)
        and (string.sub(old, 1, 1) == '1' or (string.sub(head, 1, 1) == '0' and string.sub(head, 3) < string.sub(old, 3, 18))) then
        answers[n] = string.sub(call('GET', key), 35)
    else
        answers[n] = 0
        call('SET', key, head .. ' 00000000000000 ' .. payload)
        if string.sub(head, 1, 1) == '1' then
            call('ZADD', string.sub(key, 1, #key - #id - 1), digits(now), id)
            if ARGV[2] ~= '' then
                call('PUBLISH', ARGV[2] .. id, '')
            end
        end
    end
end
return answers
