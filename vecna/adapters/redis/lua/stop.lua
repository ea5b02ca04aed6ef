-- Include: stopping messages.
-- KEYS[1] the queue. ARGV: none. Needs time, bucket, place.
-- Returns: nothing; defines stop(ids, room), for at most 500 ids, which gives a letter for each: c canceled, r running,
-- u unknown. It ends early, and gives fewer, when it has read more than `room` bytes of records.
-- What is stopped but has been in a lease that ran out is answered r too: who held that may run it still.
-- What waits gets the verdict 'canceled' and goes to `ending`. What is pending leaves its entry in the list, counted as
-- stale, and its record must be read for its priority. What is leased joins the set `flagged`.
local function stop(ids, room)
    if #ids == 0 then
        return {}
    end
    local verdicts = call('HMGET', Q .. ':verdicts', unpack(ids))
    local owners = call('HMGET', Q .. ':leased', unpack(ids))
    local reasons = call('HMGET', Q .. ':reasons', unpack(ids))
    local crashes = call('EXISTS', Q .. ':crashes') == 1 and call('HMGET', Q .. ':crashes', unpack(ids)) or {}
    local places = call('EXISTS', Q .. ':staged') == 1 and call('HMGET', Q .. ':staged', unpack(ids)) or {}
    local answers, known, flagged, stopped, unheld, stale = {}, {}, {}, {}, {}, 0

    local function let_go(id, place)
        local hold = string.match(place, '^%d %S+ (%S+)$')
        call('ZREM', Q .. ':hold:' .. hold, id)
        if call('EXISTS', Q .. ':hold:' .. hold) == 0 then
            call('ZREM', Q .. ':holds', hold)
        end
        unheld[#unheld + 1] = id
    end

    -- Takes a message away from where it waits; false if it is not here.
    local function remove(id, place)
        if place then
            let_go(id, place)
            return true
        end
        if call('ZREM', Q .. ':delayed', id) == 1 then
            return call('HEXISTS', body_key(id), id) == 1
        end
        local record = call('HGET', body_key(id), id)
        if record then
            room = room - #record
            call('HINCRBY', Q .. ':stale', sub(record, 1, 1) .. id, 1)
            stale = stale + 1
        end
        return record
    end

    for n, id in ipairs(ids) do
        if room < 0 then
            break
        end
        local answer = known[id]
        if not answer then
            answer = 'c'
            if verdicts[n] == 'canceled' then
                answer = 'c'
            elseif owners[n] then
                flagged[#flagged + 1] = id
                answer = 'r'
            elseif not verdicts[n] then
                if not reasons[n] and remove(id, places[n]) then
                    stopped[#stopped + 1] = id
                else
                    answer = 'u'
                end
            end
            if answer == 'c' and crashes[n] then
                answer = 'r'
            end
            known[id] = answer
        end
        answers[n] = answer
    end

    push('SADD', Q .. ':flagged', flagged)
    push('HDEL', Q .. ':staged', unheld)
    if stale > 0 then
        call('HINCRBY', Q .. ':meta', 'stale', stale)
    end
    doom(stopped, 'canceled')
    return answers
end
