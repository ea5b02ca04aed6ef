-- Count messages by where they stand.
-- include: bucket
-- flags: no-writes
-- KEYS[1] the queue. ARGV: none.
-- Returns {pending, delayed, leased, ending, dead, held}.
-- Cost: O(1).
local call = redis.call
local pending = -tonumber(call('HGET', Q .. ':meta', 'stale') or 0)
for level = 0, 9 do
    pending = pending + call('LLEN', Q .. ':p:' .. level)
end
return {
    pending, call('ZCARD', Q .. ':delayed'), call('HLEN', Q .. ':leased'), call('LLEN', Q .. ':ending'),
    call('LLEN', Q .. ':dead'), call('HLEN', Q .. ':staged'),
}
