-- Include: leases past their deadline end.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket, place.
-- Returns: nothing; defines reclaim(max_deliveries, limit), which ends leases until `limit` messages are back.
-- Messages go to the head of their priority, those of the lease that ended first foremost; one that was cancelled, has
-- a verdict, or one crash too many goes to the head of `ending`. No body is read: `held` has the priorities.
local function by_deadline(one, other)
    if one[1] ~= other[1] then
        return one[1] < other[1]
    end
    return one[2] < other[2]
end

local function reclaim(max_deliveries, limit)
    local found = call('ZRANGE', Q .. ':leases', '-inf', digits(now), 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
    if #found == 0 then
        return
    end
    local leases, heads, ending, gone = {}, {}, {}, {}
    for n = 1, #found, 2 do
        leases[#leases + 1] = {tonumber(found[n + 1]), tonumber(string.match(found[n], '^%d+')) or 0, found[n]}
    end
    table.sort(leases, by_deadline)
    local function set_verdict(id, crashes)
        local verdict = call('HGET', Q .. ':verdicts', id)
        if not verdict then
            local flagged = call('SREM', Q .. ':flagged', id) == 1
            verdict = flagged and 'canceled' or crashes >= max_deliveries and 'dead'
            if verdict then
                call('HSET', Q .. ':verdicts', id, verdict)
            end
        else
            call('SREM', Q .. ':flagged', id)
        end
        return verdict
    end
    for _, lease in ipairs(leases) do
        local token = lease[3]
        local spared = call('SREM', Q .. ':spared', token) == 1
        for priority, id in string.gmatch(call('HGET', Q .. ':held', token) or '', '(%d)(%S+)') do
            if holder(id) == token then
                -- A first count of 0 forgives what an outage may have caused, once for each message.
                local forgiven = spared and call('HSETNX', Q .. ':crashes', id, 0) == 1
                if set_verdict(id, forgiven and 0 or call('HINCRBY', Q .. ':crashes', id, 1)) then
                    ending[#ending + 1] = id
                else
                    heads[priority] = heads[priority] or {}
                    table.insert(heads[priority], id)
                end
                gone[#gone + 1] = id
            end
        end
        call('ZREM', Q .. ':leases', token)
        call('HDEL', Q .. ':held', token)
        call('HDEL', Q .. ':left', token)
        if #gone >= limit then
            break
        end
    end
    for priority, ids in pairs(heads) do
        push_head(Q .. ':p:' .. priority, ids)
    end
    push_head(Q .. ':ending', ending)
    push('HDEL', Q .. ':leased', gone)
end
