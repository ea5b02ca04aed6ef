-- Include: noting that workers are alive, and sparing leases after an outage.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket.
-- Returns: nothing; defines touch(touched, duration), both as the meta hash has them or nil. The latter is kept for those
-- who do not know it: a lease call gives its own.
-- When nobody has touched the queue for longer than half a lease, leases that have run out, or would within one more,
-- last one more: once each, unless their holder extends them. They are noted in the set `spared`.
local function touch(touched, duration)
    if touched and duration and now - touched > duration / 2 then
        local stop = digits(ahead + duration)
        for _, token in ipairs(call('ZRANGE', Q .. ':leases', '-inf', '(' .. stop, 'BYSCORE')) do
            if call('SADD', Q .. ':spared', token) == 1 then
                call('ZADD', Q .. ':leases', stop, token)
            end
        end
    end
    call('HSET', Q .. ':meta', 'touched', digits(now), 'duration', duration or 0)
end
