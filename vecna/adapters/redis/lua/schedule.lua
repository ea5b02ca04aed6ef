-- Include: what is kept of schedules.
-- KEYS[1] the schedules of a namespace. ARGV: none. Needs time, bucket.
-- Returns: nothing; defines
--   micros: what the script takes for now, in microseconds since 1970; all instants of schedules are in these
--   read(code): version, next, paused ('0' or '1'), skipped, last ('-': none), uuid; nothing if there is none to read
--   write(code, the same): stores this head, and where the schedule stands
--   removal(code): when the code was removed last, as text; false if that is not remembered
--   newest(): the stamp of the latest removal, -inf if none is remembered
--   remove(code): forgets the schedule, and remembers the removal
-- `heads` has '<version> <next> <paused> <skipped> <last or -> <uuid>', `records` the rest as JSON, of which nothing is
-- read here. `due` and `paused` have when it is due next, each schedule in one of them. `removed` has when codes were
-- removed, `versions` their last version: what comes later under the same code goes on from there. Removals that lie more
-- than a minute ahead are from before the clock was set back, and count for nothing: else nothing could be stored until
-- it has caught up.
local micros = tonumber(ARGV[1])
if micros == 0 then
    local time = call('TIME')
    micros = time[1] * 1000000 + time[2]
end

local function read(code)
    local head = call('HGET', Q .. ':heads', code) or ''
    return string.match(head, '^(%d+) (%-?%d+) ([01]) (%d+) (%S+) (%S*)$')
end

local function write(code, version, next_at, paused, skipped, last, uuid)
    call('HSET', Q .. ':heads', code, table.concat({version, next_at, paused, skipped, last, uuid}, ' '))
    call('ZADD', Q .. (paused == '1' and ':paused' or ':due'), next_at, code)
    call('ZREM', Q .. (paused == '1' and ':due' or ':paused'), code)
end

local horizon = digits(micros + 60000000)

local function removal(code)
    local stamp = call('ZSCORE', Q .. ':removed', code)
    return stamp and tonumber(stamp) <= tonumber(horizon) and stamp
end

local function newest()
    local found = call('ZRANGE', Q .. ':removed', horizon, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')
    return tonumber(found[2] or -math.huge)
end

local function forget(codes)
    if #codes > 0 then
        call('ZREM', Q .. ':removed', unpack(codes))
        call('HDEL', Q .. ':versions', unpack(codes))
    end
end

local function remove(code)
    local version = read(code)
    call('HDEL', Q .. ':records', code)
    call('HDEL', Q .. ':heads', code)
    call('ZREM', Q .. ':due', code)
    call('ZREM', Q .. ':paused', code)
    -- Later than any before it, even if the clock stands still or goes back a little.
    local stamp = math.max(micros, newest() + 1)
    call('ZADD', Q .. ':removed', digits(stamp), code)
    if version then
        call('HSET', Q .. ':versions', code, version)
    end
    -- Kept for a day, and no more than 100,000: no call that is under way is that old.
    forget(call('ZRANGE', Q .. ':removed', '-inf', '(' .. digits(stamp - 86400000000), 'BYSCORE', 'LIMIT', 0, 100))
    local excess = call('ZCARD', Q .. ':removed') - 100000
    if excess > 0 then
        forget(call('ZRANGE', Q .. ':removed', 0, math.min(excess, 100) - 1))
    end
end
