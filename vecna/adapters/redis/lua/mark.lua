-- Include: when and how urgently a message is to run.
-- KEYS: none. ARGV: none. Needs time, bucket.
-- Returns: nothing; defines
--   after(delay): the instant that a wait of so many milliseconds leads to
--   parse(mark): priority, due (nil: at once) and shared code (or nil) of '<priority>[@<due>][+<delay>][;<code>]'
local function after(delay)
    return delay > 0 and ahead + delay or now
end

local function parse(mark)
    local priority, code = sub(mark, 1, 1), nil
    if #mark == 1 then
        return priority, nil, nil
    end
    local stop = string.find(mark, ';', 2, true)
    if stop then
        code, mark = sub(mark, stop + 1), sub(mark, 1, stop - 1)
    end
    local due, delay = tonumber(string.match(mark, '@(-?%d+)')), tonumber(string.match(mark, '%+(%d+)'))
    if delay then
        due = math.max(due or -math.huge, after(delay))
    end
    return priority, due, code
end
