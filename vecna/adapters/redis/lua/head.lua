-- Include: putting ids at the head of a list in the order given.
-- KEYS: none. ARGV: none. Needs time, place.
-- Returns: nothing; defines push_head(key, ids).
local function push_head(key, ids)
    local reversed = {}
    for n = #ids, 1, -1 do
        reversed[#reversed + 1] = ids[n]
    end
    push('LPUSH', key, reversed)
end
