-- Make leases last longer; never shortens one.
-- include: time bucket touch
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; [2] duration ms; then tokens.
-- Effect: moves the deadline of each token that is live.
-- Returns for each token 0 if it is not live, else the list of its ids that were cancelled while leased.
-- Cost: O(log leases) a token; with cancelled messages about, O(1) for each message of a lease.
local meta = call('HMGET', Q .. ':meta', 'touched', 'duration')
touch(tonumber(meta[1] or nil), tonumber(meta[2] or nil))
local any_spared = call('EXISTS', Q .. ':spared') == 1
local any_flagged = call('EXISTS', Q .. ':flagged') == 1
local deadline, answers = digits(now + ARGV[2]), {}
for n = 3, #ARGV do
    local token, answer = ARGV[n], 0
    if call('ZSCORE', Q .. ':leases', token) then
        answer = {}
        call('ZADD', Q .. ':leases', 'GT', deadline, token)
        if any_spared then
            call('SREM', Q .. ':spared', token)
        end
        if any_flagged then
            for id in string.gmatch(call('HGET', Q .. ':held', token) or '', '%d(%S+)') do
                if holder(id) == token and call('SISMEMBER', Q .. ':flagged', id) == 1 then
                    answer[#answer + 1] = id
                end
            end
        end
    end
    answers[n - 2] = answer
end
return answers
