-- Start the expiry of end states.
-- include: time
-- flags: allow-oom
-- KEYS the records.
-- ARGV[1] now; [2] keep ms, 0 for at once; [3] '1' to let the server collect what has expired.
-- Effect: writes when each expires, once; drops it from the index of those not released.
-- Returns how many were released.
-- Cost: some four commands a record.
local keep, released = tonumber(ARGV[2]), 0
local at, text = digits(ahead + keep), string.format('%014.0f', ahead + keep)
for _, key in ipairs(KEYS) do
    local head = call('GETRANGE', key, 0, 33)
    if string.sub(head, 1, 1) == '1' and tonumber(string.sub(head, 20, 33)) == 0 then
        released = released + 1
        call('ZREM', string.match(key, '^(.-}):(.*)$'))
        if keep <= 0 then
            call('DEL', key)
        else
            call('SETRANGE', key, 19, text)
            if ARGV[3] == '1' then
                call('PEXPIREAT', key, at)
            end
        end
    end
end
return released
