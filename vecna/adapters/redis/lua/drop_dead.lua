-- Remove dead letters.
-- include: time bucket place forget
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; then ids, at most 50.
-- Effect: those that are dead letters are removed with all that is kept about them.
-- Returns a string, for each id: 1 it was one, 0 it was not.
-- Cost: O(dead letters) an id.
local answers, dropped = {}, {}
for n, id in ipairs({unpack(ARGV, 2)}) do
    answers[n] = call('HDEL', Q .. ':reasons', id)
    if answers[n] == 1 then
        call('LREM', Q .. ':dead', 1, id)
        uncode(id, string.match(call('HGET', body_key(id), id) or '', '^%d;(%S+)'))
        call('HDEL', body_key(id), id)
        dropped[#dropped + 1] = id
    end
end
forget(dropped, {}, 0)
return table.concat(answers)
