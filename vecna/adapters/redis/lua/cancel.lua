-- Stop messages: what waits never starts, what is leased is flagged.
-- include: time bucket place stop
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now; [2] most bytes of records to read; then ids, at most 500.
-- Effect: pending, delayed and held ones get the verdict 'canceled' and go to `ending`; leased ones are flagged.
-- Returns a string, for each id: c canceled, r running, u unknown. A shorter one: call again with the ids that are left.
-- Cost: O(1) an id; a delayed or held one O(log n).
local answers = stop({unpack(ARGV, 3)}, tonumber(ARGV[2]))
finish()
return table.concat(answers)
