-- Find out where messages stand.
-- include: bucket
-- flags: no-writes
-- KEYS[1] the queue.
-- ARGV ids.
-- Returns for each id false if it is not here, else {standing, record, due (delayed only) or false, counts or false};
--   standing: p pending, w delayed, l leased, e ending, d dead, h held.
-- Cost: O(1) an id.
local call = redis.call
local reply = {}
local any_held = call('EXISTS', Q .. ':staged') == 1
for n, id in ipairs(ARGV) do
    local record = call('HGET', body_key(id), id)
    reply[n] = record
    if record then
        local due = call('ZSCORE', Q .. ':delayed', id)
        local standing = 'p'
        if due then
            standing = 'w'
        elseif call('HEXISTS', Q .. ':leased', id) == 1 then
            standing = 'l'
        elseif call('HEXISTS', Q .. ':reasons', id) == 1 then
            standing = 'd'
        elseif call('HEXISTS', Q .. ':verdicts', id) == 1 then
            standing = 'e'
        elseif any_held and call('HEXISTS', Q .. ':staged', id) == 1 then
            standing = 'h'
        end
        reply[n] = {standing, record, due, call('HGET', Q .. ':counts', id)}
    end
end
return reply
