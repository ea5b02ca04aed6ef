-- Include: in which of a queue's 64 hashes a message lies, how its body is kept, and which lease it is in.
-- KEYS[1] the queue. ARGV: none.
-- Returns: nothing; defines `Q`, `body_key(id)`, `shortened(id, body)` and `holder(id)`. The sum of the first is also that
-- of vecna.adapters.redis.keys.bucket. `leased` has '<token>', of a message with a shared code '<token> <code>'.
local Q = KEYS[1]
local byte, sub = string.byte, string.sub
local function body_key(id)
    if #id < 12 then
        id = string.rep('0', 12 - #id) .. id
    end
    local a, b, c, d, e, f, g, h, i, j, k, l = byte(id, -12, -1)
    return Q .. ':m:' .. (a + 3 * b + 5 * c + 7 * d + 11 * e + 13 * f + 17 * g + 19 * h + 23 * i + 29 * j + 31 * k + 37 * l) % 64
end
-- Most bodies begin with the id, which is the record's name already: of {"UUID":"<id>","Name":... is kept ,"Name":...
-- One that begins with a comma by itself gets another. vecna.adapters.redis.wire.record puts back what is left out.
local function shortened(id, body)
    local own = '{"UUID":"' .. id .. '"'
    if sub(body, 1, #own + 2) == own .. ',"' then
        return sub(body, #own + 1)
    end
    return byte(body) == 44 and ',' .. body or body
end
local function holder(id)
    local owner = redis.call('HGET', Q .. ':leased', id)
    return owner and string.match(owner, '^%S+')
end
