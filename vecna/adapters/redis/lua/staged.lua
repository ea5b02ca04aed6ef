-- Holds that began long ago.
-- include: time bucket
-- flags: no-writes
-- KEYS[1] the queue.
-- ARGV[1] now; [2] least age ms; [3] most holds.
-- Returns their names, the oldest first.
-- Cost: O(log holds + names).
return call('ZRANGE', Q .. ':holds', '-inf', digits(now - ARGV[2]), 'BYSCORE', 'LIMIT', 0, ARGV[3])
