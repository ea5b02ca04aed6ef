-- End leases now, as if they had run out: their holder is known to be dead.
-- include: time bucket place head touch reclaim
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; [2] max deliveries; then tokens.
-- Effect: the deadline of each token that is live is now, no outage spares it, and it ends with all that ran out before
--   (until 1,000 messages are back; the rest with the next lease call); wakes a waiter.
-- Returns how many of the tokens were live.
-- Cost: O(log leases) a token and O(1) for each of its messages.
local meta = call('HMGET', Q .. ':meta', 'touched', 'duration')
touch(tonumber(meta[1] or nil), tonumber(meta[2] or nil))
local live = 0
for n = 3, #ARGV do
    local token = ARGV[n]
    if call('ZSCORE', Q .. ':leases', token) then
        live = live + 1
        call('ZADD', Q .. ':leases', 'LT', digits(now), token)
        call('SREM', Q .. ':spared', token)
    end
end
if live > 0 then
    reclaim(tonumber(ARGV[2]), 1000)
    signal()
end
return live
