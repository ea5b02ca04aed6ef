-- Stop messages that wait, whichever they are: pending ones first, then delayed ones, then held ones.
-- include: time bucket place take
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; [2] most messages, at most 500; [3] most bytes of records to read.
-- Effect: they get the verdict 'purged' and go to `ending`.
-- Returns {how many were stopped, how many still wait}.
-- Cost: O(messages * log n).
local limit = tonumber(ARGV[2])
local meta = call('HMGET', Q .. ':meta', 'levels', 'stale')
local levels, before = {}, tonumber(meta[2] or 0)
for digit in string.gmatch(meta[1] or '', '%d') do
    levels[#levels + 1] = digit
end
table.sort(levels, function(one, other) return one > other end)

local ids, _, stale = take(limit, table.concat(levels), before, 'pending', tonumber(ARGV[3]))
if stale ~= before then
    call('HSET', Q .. ':meta', 'stale', stale)
end
local delayed = #ids < limit and call('ZPOPMIN', Q .. ':delayed', limit - #ids) or {}
for n = 1, #delayed, 2 do
    if call('HEXISTS', body_key(delayed[n]), delayed[n]) == 1 then
        ids[#ids + 1] = delayed[n]
    end
end
for _, name in ipairs(#ids < limit and call('ZRANGE', Q .. ':holds', 0, 99) or {}) do
    local hold = Q .. ':hold:' .. name
    local held = #ids < limit and call('ZRANGE', hold, 0, limit - #ids - 1) or {}
    push('HDEL', Q .. ':staged', held)
    push('ZREM', hold, held)
    if call('EXISTS', hold) == 0 then
        call('ZREM', Q .. ':holds', name)
    end
    for _, id in ipairs(held) do
        ids[#ids + 1] = id
    end
end
doom(ids, 'purged')

local left = call('ZCARD', Q .. ':delayed') + call('HLEN', Q .. ':staged') - stale
for _, level in ipairs(levels) do
    left = left + call('LLEN', Q .. ':p:' .. level)
end
finish()
return {#ids, left}
