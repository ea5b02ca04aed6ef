-- Find out which commands of the scripts the user may not run: a script that is denied one in mid-way leaves half of its
-- work done.
-- flags: no-writes
-- KEYS[1] any key of the namespace.
-- ARGV[1] a channel of the namespace; then names of commands that take a key first.
-- Effect: none.
-- Returns the names of those that are denied.
-- Cost: some twenty microseconds.
local denied = {}
for n = 2, #ARGV do
    if not redis.acl_check_cmd(ARGV[n], KEYS[1]) then
        denied[#denied + 1] = ARGV[n]
    end
end
if not redis.acl_check_cmd('PUBLISH', ARGV[1], '') then
    denied[#denied + 1] = 'PUBLISH'
end
if not redis.acl_check_cmd('TIME') then
    denied[#denied + 1] = 'TIME'
end
return denied
