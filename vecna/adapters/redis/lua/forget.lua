-- Include: dropping what is no longer needed after leases have ended.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket, place.
-- Returns: nothing; defines release(counts by token) and forget(ids that were removed, ids that have died, limit).
local function release(released)
    for token, count in pairs(released) do
        if call('HINCRBY', Q .. ':left', token, -count) <= 0 then
            call('ZREM', Q .. ':leases', token)
            call('HDEL', Q .. ':left', token)
            call('HDEL', Q .. ':held', token)
            call('SREM', Q .. ':spared', token)
        end
    end
end

local function forget(ids, died, limit)
    -- Dead letters over the limit go, the oldest first; more than have died now only while the limit is new.
    local excess = #died > 0 and math.min(call('LLEN', Q .. ':dead') - limit, #died + 100) or 0
    if excess > 0 then
        local dropped = call('LPOP', Q .. ':dead', excess)
        for _, id in ipairs(dropped) do
            uncode(id, string.match(call('HGET', body_key(id), id) or '', '^%d;(%S+)'))
            call('HDEL', body_key(id), id)
            ids[#ids + 1] = id
        end
        push('HDEL', Q .. ':reasons', dropped)
    end
    if #ids + #died > 0 and call('EXISTS', Q .. ':counts', Q .. ':crashes', Q .. ':verdicts', Q .. ':flagged') > 0 then
        push('HDEL', Q .. ':counts', ids)
        for _, id in ipairs(died) do
            ids[#ids + 1] = id
        end
        push('HDEL', Q .. ':crashes', ids)
        push('HDEL', Q .. ':verdicts', ids)
        push('SREM', Q .. ':flagged', ids)
    end
end
