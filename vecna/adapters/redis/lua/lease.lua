-- Housekeeping, then lease messages to a worker; or give it again what the same call has got.
-- include: time bucket place head touch promote reclaim take
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; [2] count, at most 500; [3] worker; [4] call; [5] duration ms; [6] max deliveries; [7] '1' for verdicts
--   only; [8] most bytes of records.
-- Effect: promotes up to 1,000 due messages, ends leases that ran out (until 1,000 messages are back), notes the
--   worker's newest call, takes messages, and leaves the wake marker if work is left, else removes it if it could take any.
-- Returns {token, now in microseconds, next due or false, left, id, record, more, id, record, more, ...}; left: 1
--   pending, 2 ending, 3 both are left behind; more: '' or '<crashes> <verdict or -> <counts>'.
-- Cost: O((promoted + ended + taken) * log(n)); an idle queue: some ten commands.
local count, worker, number = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local meta = call('HMGET', Q .. ':meta', 'touched', 'levels', 'stale')
touch(tonumber(meta[1] or nil), tonumber(ARGV[5]))
promote(1000)
reclaim(tonumber(ARGV[6]), 1000)

local newest, token = string.match(call('HGET', Q .. ':calls', worker) or '', '^(%-?%d+) (.*)$')
newest = tonumber(newest) or -math.huge
local levels, stale = {}, tonumber(meta[3] or 0)
for digit in string.gmatch(meta[2] or '', '%d') do
    levels[#levels + 1] = digit
end
table.sort(levels, function(one, other) return one > other end)

local ids, records = {}, {}
if number > newest then
    local before = stale
    token = ''
    ids, records, stale = take(count, table.concat(levels), stale, ARGV[7] == '1' and 'ending' or 'all', tonumber(ARGV[8]))
    if stale ~= before then
        call('HSET', Q .. ':meta', 'stale', stale)
    end
    if #ids > 0 then
        token = call('HINCRBY', Q .. ':meta', 'seq', 1) .. ':' .. worker .. ':' .. ARGV[4]
        local owners, held = {}, {}
        for n, id in ipairs(ids) do
            -- The settlement that ends it must know its shared code, without another look.
            local code = string.byte(records[n], 2) == 59 and string.match(records[n], '^%d;(%S+)')
            owners[2 * n - 1], owners[2 * n] = id, code and token .. ' ' .. code or token
            held[n] = sub(records[n], 1, 1) .. id
        end
        push('HSET', Q .. ':leased', owners)
        call('HSET', Q .. ':held', token, table.concat(held, ' '))
        call('HSET', Q .. ':left', token, #ids)
        call('ZADD', Q .. ':leases', digits(now + ARGV[5]), token)
    end
    call('HSET', Q .. ':calls', worker, ARGV[4] .. ' ' .. token)
    call('ZADD', Q .. ':workers', digits(now), worker)
    if newest == -math.huge or number % 16 == 0 then
        -- Of workers that have been silent for a day nothing is kept; no duplicate of a call is that late.
        local silent = call('ZRANGE', Q .. ':workers', '-inf', '(' .. digits(now - 86400000), 'BYSCORE', 'LIMIT', 0, 100)
        push('HDEL', Q .. ':calls', silent)
        push('ZREM', Q .. ':workers', silent)
    end
elseif number == newest and token ~= '' then
    for id in string.gmatch(call('HGET', Q .. ':held', token) or '', '%d(%S+)') do
        local record = holder(id) == token and call('HGET', body_key(id), id)
        if record then
            ids[#ids + 1], records[#records + 1] = id, record
        end
    end
end

local left, lines = 0, {}
for n, level in ipairs(levels) do
    lines[n] = Q .. ':p:' .. level
end
if #lines > 0 then
    local present = call('EXISTS', unpack(lines)) > 0
    if present and stale > 0 then
        local entries = 0
        for _, line in ipairs(lines) do
            entries = entries + call('LLEN', line)
        end
        present = entries > stale
    end
    left = present and 1 or 0
end
left = left + 2 * call('EXISTS', Q .. ':ending')
if left > 0 then
    signal()
elseif count > 0 and ARGV[7] ~= '1' then
    call('DEL', Q .. ':wake') -- who takes nothing leaves it: it may be there for an earlier due time
end

local next_due = false
for _, key in ipairs({Q .. ':delayed', Q .. ':leases'}) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if first and (not next_due or tonumber(first) < next_due) then
        next_due = math.floor(tonumber(first))
    end
end

local reply = {#ids > 0 and token or '', micros, next_due, left}
local crashes, verdicts, counts = {}, {}, {}
if #ids > 0 and call('EXISTS', Q .. ':crashes', Q .. ':verdicts', Q .. ':counts') > 0 then
    crashes = call('HMGET', Q .. ':crashes', unpack(ids))
    verdicts = call('HMGET', Q .. ':verdicts', unpack(ids))
    counts = call('HMGET', Q .. ':counts', unpack(ids))
end
for n, id in ipairs(ids) do
    local more = ''
    if crashes[n] or verdicts[n] or counts[n] then
        more = (crashes[n] or '0') .. ' ' .. (verdicts[n] or '-') .. ' ' .. (counts[n] or '')
    end
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = id, records[n], more
end
return reply
