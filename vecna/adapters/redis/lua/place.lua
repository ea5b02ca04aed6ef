-- Include: putting messages where they wait.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket.
-- Returns: nothing; defines
--   keep(id, priority, enqueued, due, body, code): keeps a new message; false, and no change, if its id is here
--   store(the same): keeps it, and puts it where it waits
--   uncode(id, code): the message with this shared code is over
--   wait_until(id, priority, due), to_ending(id): where a known message goes
--   doom(ids, verdict): known messages get this verdict and go to `ending`
--   finish(): writes what these have gathered, and wakes a waiter if there is news. Call it last.
local pending_tail, priorities, news = {}, {}, false
local earliest, latest = nil, {}

local function wait_until(id, priority, due)
    priorities[priority] = true
    if due == nil or due <= now then
        local line = pending_tail[priority]
        if line then line[#line + 1] = id else pending_tail[priority] = {id} end
        return
    end
    -- Equal instants in order of arrival: each stands 1/1024 ms behind the one before.
    local delayed, score = Q .. ':delayed', latest[due]
    if earliest == nil then
        earliest = tonumber(call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or math.huge)
    end
    if due < math.floor(earliest) then
        news, earliest = true, due
    end
    if score == nil then
        score = tonumber(call('ZRANGE', delayed, '(' .. digits(due + 1), digits(due), 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2])
    end
    score = score and math.min(score + 0.0009765625, due + 0.9990234375) or due
    latest[due] = score
    call('ZADD', delayed, string.format('%.17g', score), id)
end

local function keep(id, priority, enqueued, due, body, code)
    local head = (code and priority .. ';' .. code or priority) .. ' ' .. enqueued .. ' ' .. (due and digits(due) or '-') .. ' '
    if call('HSETNX', body_key(id), id, head .. shortened(id, body)) == 0 then
        return false
    end
    if code then
        call('SADD', Q .. ':code:' .. code, id)
    end
    return true
end

local function store(id, priority, enqueued, due, body, code)
    local is_new = keep(id, priority, enqueued, due, body, code)
    if is_new then
        wait_until(id, priority, due)
    end
    return is_new
end

local function uncode(id, code)
    if code then
        call('SREM', Q .. ':code:' .. code, id)
    end
end

local function to_ending(id)
    call('RPUSH', Q .. ':ending', id)
    news = true
end

local function push(command, key, ids)
    for first = 1, #ids, 1000 do
        call(command, key, unpack(ids, first, math.min(first + 999, #ids)))
    end
end

local function doom(ids, verdict)
    local verdicts = {}
    for n, id in ipairs(ids) do
        verdicts[2 * n - 1], verdicts[2 * n] = id, verdict
    end
    push('HSET', Q .. ':verdicts', verdicts)
    push('RPUSH', Q .. ':ending', ids)
    news = news or #ids > 0
end

local function signal()
    if call('LLEN', Q .. ':wake') == 0 then
        call('RPUSH', Q .. ':wake', '1')
    end
end

local function finish()
    if next(priorities) then
        -- The meta hash has every priority that was ever used, so that a lease looks into no other list.
        local levels = call('HGET', Q .. ':meta', 'levels') or ''
        local known = levels
        for priority in pairs(priorities) do
            if not string.find(levels, priority, 1, true) then
                levels = levels .. priority
            end
        end
        if levels ~= known then
            call('HSET', Q .. ':meta', 'levels', levels)
        end
    end
    for priority, ids in pairs(pending_tail) do
        push('RPUSH', Q .. ':p:' .. priority, ids)
        news = true
    end
    if news then
        signal()
    end
end
