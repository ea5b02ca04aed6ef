-- End leases on messages, each only while its token is the live one; with what their end causes, in one step.
-- include: time bucket mark place head touch outbox forget
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; [2] how many dead letters are kept; then for each settlement: id, 'F' and the token, kind, detail, n, and n
--   times target ('' this queue), id, mark, body of a follow-up; or just id, 'D' and the token: done, nothing follows.
--   kind: 'D' done; 'R' retry, detail '<delay ms> <retries> <repeats> <parks>'; 'B' back to the head; 'X' dead letter,
--   detail the reason.
-- Effect: as said, per settlement; follow-ups for this queue are stored, those for others numbered in outboxes.
-- Returns a string, for each settlement one of: o ok, a this lease had settled it so, l lost, g gone, f flagged.
-- Cost: some five commands a settlement; one more for a shared code.
local position, settlements, ids = 3, {}, {}
while position <= #ARGV do
    settlements[#settlements + 1] = position
    ids[#ids + 1] = ARGV[position]
    position = position + (byte(ARGV[position + 1]) == 68 and 2 or 5 + 4 * tonumber(ARGV[position + 4]))
end
local owners = call('HMGET', Q .. ':leased', unpack(ids))
local meta = call('HMGET', Q .. ':meta', 'touched', 'duration')
local any_verdict = call('EXISTS', Q .. ':verdicts') == 1
local any_flagged = call('EXISTS', Q .. ':flagged') == 1
touch(tonumber(meta[1] or nil), tonumber(meta[2] or nil))

local heads, ending_head, unleased, ended, released, dead = {}, {}, {}, {}, {}, {}
local settled = {} -- ids whose lease this very call has ended

-- How often it was repeated, and how it was settled last: '<retries> <repeats> <parks> <kind> <token>'.
local function note(id, counts, kind, token)
    counts = counts or string.match(call('HGET', Q .. ':counts', id) or '0 0 0', '^%d+ %d+ %d+')
    call('HSET', Q .. ':counts', id, counts .. ' ' .. kind .. ' ' .. token)
end

local function follow_ups(first, n)
    for at = first, first + 4 * (n - 1), 4 do
        local priority, due, code = parse(ARGV[at + 2])
        if ARGV[at] == '' then
            store(ARGV[at + 1], priority, digits(now), due, ARGV[at + 3], code)
        else
            send(ARGV[at], ARGV[at + 1], priority, due, ARGV[at + 3], code)
        end
    end
end

local function apply(id, code, token, kind, detail, first, n)
    if kind == 'D' then
        call('HDEL', body_key(id), id)
        uncode(id, code)
        ended[#ended + 1] = id
        return follow_ups(first, n)
    end
    if kind == 'X' then
        note(id, nil, kind, token)
        call('RPUSH', Q .. ':dead', id)
        call('HSET', Q .. ':reasons', id, digits(now) .. ' ' .. detail)
        dead[#dead + 1] = id
        return follow_ups(first, n)
    end
    local verdict = any_verdict and call('HGET', Q .. ':verdicts', id)
    if not verdict and any_flagged and call('SREM', Q .. ':flagged', id) == 1 then
        verdict = 'canceled'
        call('HSET', Q .. ':verdicts', id, verdict)
    elseif any_flagged then
        call('SREM', Q .. ':flagged', id)
    end
    local delay, counts = string.match(detail, '^(%d+) (.*)$')
    note(id, counts, kind, token)
    if verdict then
        if kind == 'B' then ending_head[#ending_head + 1] = id else to_ending(id) end
    else
        local priority = sub(call('HGET', body_key(id), id) or '0', 1, 1) -- a lost body is noticed by the next lease
        if kind == 'R' then
            wait_until(id, priority, after(tonumber(delay)))
        else
            heads[priority] = heads[priority] or {}
            table.insert(heads[priority], id)
        end
    end
end

local answers = {}
for n, at in ipairs(settlements) do
    local id, token, short = ids[n], sub(ARGV[at + 1], 2), byte(ARGV[at + 1]) == 68
    local kind, detail, follow = short and 'D' or ARGV[at + 2], ARGV[at + 3], short and 0 or tonumber(ARGV[at + 4])
    local owner, code = owners[n] or '', ''
    if string.find(owner, ' ', 1, true) then
        owner, code = string.match(owner, '^(%S*) (%S*)')
    end
    if owner ~= token or token == '' or settled[id] then
        local last = string.match(call('HGET', Q .. ':counts', id) or '', '^%d+ %d+ %d+ (.*)$')
        answers[n] = call('HEXISTS', body_key(id), id) == 0 and 'g' or last == kind .. ' ' .. token and 'a' or 'l'
    elseif follow > 0 and any_flagged and call('SISMEMBER', Q .. ':flagged', id) == 1 then
        answers[n] = 'f'
    else
        answers[n] = 'o'
        settled[id] = true
        unleased[#unleased + 1] = id
        released[token] = (released[token] or 0) + 1
        apply(id, code ~= '' and code or nil, token, kind, detail, at + 5, follow)
    end
end

for priority, back in pairs(heads) do
    push_head(Q .. ':p:' .. priority, back)
    news = true
end
if #ending_head > 0 then
    push_head(Q .. ':ending', ending_head)
    news = true
end
push('HDEL', Q .. ':leased', unleased)
release(released)
forget(ended, dead, tonumber(ARGV[2]))
finish()
return table.concat(answers)
