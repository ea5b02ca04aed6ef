-- Include: taking messages off the lists.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket, place, head.
-- Returns: nothing; defines take(count, levels, stale, which, room), which gives two lists, ids and records,
-- and what is left of `stale`. `which`: 'ending' for messages with a verdict, 'pending', or 'all', those with a verdict
-- first. `room` is how many bytes of records may come; at least one record comes.
-- A cancelled message leaves its entry in the pending list, counted in the hash `stale` under '<priority><id>'; it is
-- dropped here, as the first entry of its id. Entries looked at: at most `count` + 1,000.
local function take(count, levels, stale, which, room)
    local ids, records, looked = {}, {}, 0

    local function drop_stale(priority, found)
        local fields, kept, taken = {}, {}, {}
        for n, id in ipairs(found) do
            fields[n] = priority .. id
        end
        local counts = call('HMGET', Q .. ':stale', unpack(fields))
        for n, id in ipairs(found) do
            local left = tonumber(counts[n] or 0) - (taken[id] or 0)
            if left > 0 then
                taken[id] = (taken[id] or 0) + 1
                stale = stale - 1
                if call('HINCRBY', Q .. ':stale', fields[n], -1) <= 0 then
                    call('HDEL', Q .. ':stale', fields[n])
                end
            else
                kept[#kept + 1] = id
            end
        end
        return kept
    end

    local function take_from(key, priority)
        while #ids < count and room > 0 and looked < count + 1000 do
            local found = call('LPOP', key, math.min(count - #ids, 500))
            if not found then
                return
            end
            looked = looked + #found
            if stale > 0 and priority then
                found = drop_stale(priority, found)
            end
            for n, id in ipairs(found) do
                if room <= 0 then
                    push_head(key, {unpack(found, n)})
                    return
                end
                local record = call('HGET', body_key(id), id)
                if record then
                    ids[#ids + 1], records[#records + 1] = id, record
                    room = room - #record
                end
            end
        end
    end

    if which ~= 'pending' then
        take_from(Q .. ':ending')
    end
    if which ~= 'ending' then
        for n = 1, #levels do
            local priority = sub(levels, n, n)
            take_from(Q .. ':p:' .. priority, priority)
        end
    end
    return ids, records, stale
end
