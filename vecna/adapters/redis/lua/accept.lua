-- Take over follow-ups that another queue has left for this one, each exactly once.
-- include: time bucket place
-- flags: allow-oom
-- KEYS[1] this queue, the target; KEYS[2] the registry of queues, left out where it lies in another slot.
-- ARGV[1] now; [2] this queue's name; [3] the source queue's name; [4] epoch of the source; then entries of its outbox
--   in order, as outbox.lua writes them, beginning with the first that is there.
-- Effect: takes each only after the one before it, and moves the cursor kept for the source in the same step.
-- Returns the cursor: all up to this number have arrived. -1: the entries are of an epoch that is over.
-- Cost: as enqueue.
local known_epoch, cursor = string.match(call('HGET', Q .. ':inbox', ARGV[3]) or '0 0', '^(%d+) (%d+)$')
known_epoch, cursor = tonumber(known_epoch), tonumber(cursor)
local epoch = tonumber(ARGV[4])
if epoch < known_epoch then
    return -1
end
-- Entries of earlier versions count from 1, and do not name the one before.
local function place(entry)
    local number, before = string.match(entry, '^(%d+)<?(%d*)')
    return tonumber(number), tonumber(before) or tonumber(number) - 1
end
local _, confirmed = place(ARGV[5])
if epoch > known_epoch or cursor < confirmed then
    -- What came before the first entry has been confirmed to the source; if it is not known here, it was lost here.
    cursor = confirmed
end
if KEYS[2] then
    call('SADD', KEYS[2], ARGV[2])
end
for n = 5, #ARGV do
    local number, before = place(ARGV[n])
    if number > cursor and before <= cursor then
        local priority, code, enqueued, due, id, rest = string.match(ARGV[n], '^%S+ (%d)(%S*) (%d+) (%S+) (%S+) ()')
        store(id, priority, enqueued, tonumber(due), sub(ARGV[n], rest), code ~= '' and sub(code, 2) or nil)
        cursor = number
    end
end
call('HSET', Q .. ':inbox', ARGV[3], ARGV[4] .. ' ' .. digits(cursor))
finish()
return cursor
