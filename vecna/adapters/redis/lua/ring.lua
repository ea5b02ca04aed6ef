-- Wake a waiter, though there is nothing to lease.
-- include: time bucket place
-- flags: allow-oom
-- KEYS[1] the queue.
-- ARGV[1] now.
-- Effect: leaves the wake marker, if there is none.
-- Returns nothing.
-- Cost: O(1).
signal()
