-- Take note that members of groups, or steps of chains, have ended.
-- include: time
-- flags: allow-oom
-- KEYS the nodes, one for each report.
-- ARGV[1] now; [2] what names of channels begin with, '' to tell nobody; then for each report: id of the node, index,
--   's' succeeded, 'f' failed or 'c' was canceled, reason.
-- Effect: members of a group are marked in a bitmap, so that each counts once; the report that ends a node is noted, and
--   its end published. A node that has ended never changes.
-- Returns for each report false if the node is unknown, else a letter and what the node is: n nothing, a advance,
--   d complete, f fail, c closed.
-- Cost: some three commands a report, and one bit of each member is looked at.
local function tell(key, id, status, index)
    call('HSET', key, 'status', status, 'by', index)
    if ARGV[2] ~= '' then
        call('PUBLISH', ARGV[2] .. id, '')
    end
end

local function succeed(key, id, index, node, size)
    if string.sub(node[1], 1, 1) == 'c' then
        local reached = math.min(tonumber(index) + 1, size)
        if reached > tonumber(node[4] or 0) then
            call('HSET', key, 'done', reached)
        end
        if tonumber(index) + 1 < size then
            return 'a'
        end
        if not node[2] then
            tell(key, id, 'complete', index)
        end
        return 'd'
    end
    local done, by = tonumber(node[4] or 0), node[3]
    if not node[2] then
        local members = string.sub(key, 1, #key - #id - 2) .. 'm:' .. id
        if tonumber(index) < size then
            -- Counted anew each time: a call that was cut off between the two (a right was missing) is made up for.
            call('SETBIT', members, index, 1)
            done = call('BITCOUNT', members)
            call('HSET', key, 'done', done)
        end
        if done < size then
            return 'n'
        end
        tell(key, id, 'complete', index)
        by = index
    end
    return by == index and 'd' or 'c'
end

local function fail(key, id, index, node, outcome, reason)
    if node[2] == 'complete' then
        return 'c'
    end
    if string.sub(node[1], 1, 1) == 'g' and call('GETBIT', string.sub(key, 1, #key - #id - 2) .. 'm:' .. id, index) == 1 then
        return 'c'
    end
    call('HSET', key, 'canceled', outcome == 'c' and '1' or '0', 'reason', reason)
    tell(key, id, 'failed', index)
    return 'f'
end

local answers = {}
for n, key in ipairs(KEYS) do
    local id, index, outcome, reason = unpack(ARGV, 4 * n - 1, 4 * n + 2)
    local node = call('HMGET', key, 'is', 'status', 'by', 'done', 'expires')
    if not node[1] or (node[5] and tonumber(node[5]) <= now) then
        answers[n] = false
    else
        local answer
        if node[2] == 'failed' then
            answer = outcome ~= 's' and node[3] == index and 'f' or 'c'
        elseif outcome == 's' then
            answer = succeed(key, id, index, node, tonumber(string.match(node[1], '^. (%d+)')))
        else
            answer = fail(key, id, index, node, outcome, reason)
        end
        answers[n] = answer .. node[1]
    end
end
return answers
