-- The text of a JSON request: strings, numbers and words, read with the words of JSON's grammar
-- (RFC 8259) and of UTF-8's (RFC 3629), and what is wrong with them.

local MAX_VIOLATIONS = 16
local MAX_QUOTED = 80
local ESCAPES = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
                 ['"'] = '"', ["\\"] = "\\", ["/"] = "/"}

-- One request: its text, the position of the next byte, and what is wrong so far.
local text, position, violations

local function quoted(value)
  -- What the caller sent goes into the reply only as short, printable ASCII.
  local short = #value > MAX_QUOTED and value:sub(1, MAX_QUOTED) .. "..." or value
  return (short:gsub("[^\32-\126]", "?"))
end

local function violate(path, description)
  if #violations < MAX_VIOLATIONS then
    violations[#violations + 1] = {field = path ~= "" and quoted(path) or "body",
                                   description = description}
  end
end

local function malformed(path, expected)
  error({field = path ~= "" and quoted(path) or "body",
         description = "is not valid JSON at byte " .. position .. ": expected " .. expected}, 0)
end

local function join(path, name)
  return path == "" and name or path .. "." .. name
end

local function skip_space()
  position = text:find("[^ \t\r\n]", position) or #text + 1
end

local function peek()
  skip_space()
  return text:sub(position, position)
end

local function utf8_of(code)
  if code < 0x80 then return string.char(code) end
  local last = 0x80 + code % 64
  if code < 0x800 then return string.char(0xC0 + math.floor(code / 64), last) end
  local third = 0x80 + math.floor(code / 64) % 64
  if code < 0x10000 then return string.char(0xE0 + math.floor(code / 4096), third, last) end
  return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
                     third, last)
end

-- How many bytes follow the first one of a character, and the least and the greatest second byte.
local function shape_of(first)
  if first >= 0xC2 and first <= 0xDF then return 1, 0x80, 0xBF end
  if first >= 0xE0 and first <= 0xEF then
    return 2, first == 0xE0 and 0xA0 or 0x80, first == 0xED and 0x9F or 0xBF
  end
  if first >= 0xF0 and first <= 0xF4 then
    return 3, first == 0xF0 and 0x90 or 0x80, first == 0xF4 and 0x8F or 0xBF
  end
end

local function is_utf8(value)
  local at = value:find("[\128-\255]")
  while at do
    local size, least, greatest = shape_of(value:byte(at))
    local second = value:byte(at + 1)
    if not size or not second or second < least or second > greatest
       or not value:find("^" .. ("[\128-\191]"):rep(size), at + 1) then
      return false
    end
    at = value:find("[\128-\255]", at + size + 1)
  end
  return true
end

local function read_code(path)
  local digits = text:match("^u(%x%x%x%x)", position)
  if not digits then malformed(path, "four hexadecimal digits") end
  position = position + 5
  return tonumber(digits, 16)
end

local function read_character(path)
  local code = read_code(path)
  if code < 0xD800 or code > 0xDFFF then return utf8_of(code) end
  -- Beyond the first 65,536 characters JSON writes two halves.
  if code < 0xDC00 and text:find("^\\u", position) then
    position = position + 1
    local low = read_code(path)
    if low >= 0xDC00 and low <= 0xDFFF then
      return utf8_of(0x10000 + (code - 0xD800) * 1024 + low - 0xDC00)
    end
  end
  error({field = path ~= "" and quoted(path) or "body",
         description = "holds half of a character: a lone surrogate"}, 0)
end

local function read_escape(path)
  local letter = text:sub(position, position)
  if letter == "u" then return read_character(path) end
  if not ESCAPES[letter] then malformed(path, "an escape sequence") end
  position = position + 1
  return ESCAPES[letter]
end

local function read_string(path)
  local parts = {}
  position = position + 1
  while true do
    local stop = text:find('[%z\1-\31"\\]', position)
    if not stop then
      position = #text + 1
      malformed(path, "the end of a string")
    end
    local part = text:sub(position, stop - 1)
    if not is_utf8(part) then malformed(path, "text in UTF-8") end
    parts[#parts + 1] = part
    local byte = text:sub(stop, stop)
    position = stop + 1
    if byte == '"' then return table.concat(parts) end
    if byte ~= "\\" then malformed(path, "an escaped control character") end
    parts[#parts + 1] = read_escape(path)
  end
end

local function read_number(path)
  local digits = text:match("^-?%d[%d%.eE+-]*", position)
  if not digits or digits:find("^-?0%d") or digits:find("%.$") or digits:find("%.[eE]")
     or not tonumber(digits) then
    malformed(path, "a value")
  end
  position = position + #digits
  return tonumber(digits)
end

local function read_word(path, word)
  if text:sub(position, position + #word - 1) ~= word then malformed(path, "a value") end
  position = position + #word
end
