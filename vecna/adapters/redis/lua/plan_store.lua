-- Store nodes of a workflow, or further parts of them. What is there already stays.
-- include: time
-- flags:
-- KEYS the nodes, each as often as it has entries.
-- ARGV[1] now; then for each key: id, what it is, '1' if it is a root, n, and n times a field and its value.
-- Effect: a new node begins open; a new root joins its bucket's index of those not committed. One that was released
--   gets nothing more. Refused as a whole when memory is full.
-- Returns for each key 1, or 0 if it was released.
-- Cost: some three commands a key, one a field.
local position, answers = 2, {}
for n, key in ipairs(KEYS) do
    local id, about, is_root, count = unpack(ARGV, position, position + 3)
    local base = string.sub(key, 1, #key - #id - 2)
    local old = call('HMGET', key, 'is', 'expires')
    if old[2] and tonumber(old[2]) <= now then
        call('UNLINK', key, base .. 'm:' .. id)
        old = {false, false}
    end
    answers[n] = old[2] and 0 or 1
    if not old[1] then
        call('HSET', key, 'is', about, 'at', digits(now))
        if is_root == '1' then
            call('ZADD', base .. 'uncommitted', digits(now), id)
        end
    end
    position = position + 4
    for _ = 1, tonumber(count) do
        if answers[n] == 1 then
            call('HSETNX', key, ARGV[position], ARGV[position + 1])
        end
        position = position + 2
    end
end
return answers
