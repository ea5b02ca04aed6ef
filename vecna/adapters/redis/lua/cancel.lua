-- Stop messages: what waits never starts, what is leased is flagged.
-- include: time bucket place
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; then ids.
-- Effect: pending and delayed ones get the verdict 'canceled' and go to `ending`; the entry in the pending list stays,
--   counted as stale. Leased ones join the set `flagged`.
-- Returns a string, for each id: c canceled, r running, u unknown.
-- Cost: O(1) an id; a delayed one O(log delayed).
local answers = {}
for n = 2, #ARGV do
    local id, answer = ARGV[n], 'c'
    local verdict = call('HGET', Q .. ':verdicts', id)
    if verdict == 'canceled' then
        answer = 'c'
    elseif call('HEXISTS', Q .. ':leased', id) == 1 then
        call('SADD', Q .. ':flagged', id)
        answer = 'r'
    elseif not verdict then
        local record = call('HGET', body_key(id), id)
        if not record or call('HEXISTS', Q .. ':reasons', id) == 1 then
            answer = 'u'
        else
            if call('ZREM', Q .. ':delayed', id) == 0 then
                call('HINCRBY', Q .. ':stale', sub(record, 1, 1) .. id, 1)
                call('HINCRBY', Q .. ':meta', 'stale', 1)
            end
            call('HSET', Q .. ':verdicts', id, 'canceled')
            to_ending(id)
        end
    end
    answers[n - 1] = answer
end
finish()
return table.concat(answers)
