-- Reads the JSON form of a request and finds what the contracts do not allow in it.
--
-- The renderer puts json_text.lua and three tables in front of this file:
--   METHODS["/pkg.Service/Method"] = {input = "pkg.Message", stream = bool}
--   MESSAGES["pkg.Message"] = {[field name] = {name =, kind =, label =, of =, ...}}
--     under both the Protobuf and the JSON name; `of` names a message or an enum, `oneof` the
--     choice the field belongs to; a list (`many`) or `map` has what it holds in `element`
--   ENUMS["pkg.Enum"] = {[value name] = true}

local MAX_DEPTH = 64

local INTEGER_RANGES = {
  int32 = {-2147483648, 2147483647},
  uint32 = {0, 4294967295},
  int64 = {-9223372036854775808, 9223372036854775807},
  uint64 = {0, 18446744073709551615},
}
local LARGEST = {float = 3.4028234663852886e38, double = 1.7976931348623157e308}

local MONTH_DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

local function is_timestamp(value)
  local year, month, day, hour, minute, second, rest =
    value:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)(.*)$")
  if not year then return false end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  local days = MONTH_DAYS[month] or 0
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then days = 29 end
  rest = rest:gsub("^%.%d+", "")
  return day >= 1 and day <= days and hour <= "23" and minute <= "59" and second <= "59"
    and (rest == "Z" or rest:find("^[+-]%d%d:%d%d$") ~= nil)
end

-- Types that are strings of a certain form in JSON.
local TEXT_FORMS = {
  timestamp = is_timestamp,
  duration = function(value) return value:find("^-?%d+%.?%d*s$") ~= nil end,
  bytes = function(value) return value:find("^[%w+/_-]*=*$") ~= nil end,
}

local function check_integer(path, kind, number)
  local range = INTEGER_RANGES[kind]
  if number ~= math.floor(number) then
    violate(path, "must be a whole number")
  elseif number < range[1] or number > range[2] then
    violate(path, "is out of range for " .. kind)
  end
end

local function check_fraction(path, kind, number)
  if number > LARGEST[kind] or number < -LARGEST[kind] then
    violate(path, "is out of range for " .. kind)
  end
end

local function check_number(path, field, number)
  if LARGEST[field.kind] then
    check_fraction(path, field.kind, number)
  elseif INTEGER_RANGES[field.kind] then
    check_integer(path, field.kind, number)
  elseif field.kind == "enum" then
    check_integer(path, "int32", number)
  elseif field.kind ~= "any" then
    violate(path, "must be " .. field.label .. ", not a number")
  end
end

local function check_string(path, field, value)
  if INTEGER_RANGES[field.kind] then
    if not value:find("^-?%d+$") then
      violate(path, "must be a whole number")
    else
      check_integer(path, field.kind, tonumber(value))
    end
  elseif LARGEST[field.kind] then
    local number = value:find("^-?%d[%d.eE+-]*$") and tonumber(value)
    if number then
      check_fraction(path, field.kind, number)
    elseif value ~= "NaN" and not value:find("^-?Infinity$") then
      violate(path, "must be a number")
    end
  elseif field.kind == "enum" then
    if not ENUMS[field.of][value] then
      violate(path, "has no value named " .. quoted(value))
    end
  elseif TEXT_FORMS[field.kind] then
    if not TEXT_FORMS[field.kind](value) then violate(path, "must be " .. field.label) end
  elseif field.kind == "boolean" or field.kind == "message" then
    violate(path, "must be " .. field.label .. ", not a string")
  end
end

local read_value

local function read_list(path, field, depth)
  position = position + 1
  if peek() == "]" then
    position = position + 1
    return
  end
  local index = 0
  while true do
    read_value(path .. "[" .. index .. "]", field, depth + 1)
    index = index + 1
    local byte = peek()
    if byte ~= "," and byte ~= "]" then malformed(path, "',' or ']'") end
    position = position + 1
    if byte == "]" then return end
  end
end

-- Reads an object; `field_named(key)` returns the value's path, what is expected there, and what
-- tells the field from others, since a field has two names.
local function read_object(path, depth, field_named)
  position = position + 1
  if peek() == "}" then
    position = position + 1
    return
  end
  local seen, chosen = {}, {}
  while true do
    if peek() ~= '"' then malformed(path, "a field name in quotes") end
    local key = read_string(path)
    local inner, field, identity = field_named(key)
    if seen[identity] then violate(inner, "is given more than once") end
    seen[identity] = true
    if peek() ~= ":" then malformed(inner, "':'") end
    position = position + 1
    if field.oneof and peek() ~= "n" then
      local other = chosen[field.oneof]
      if other then violate(inner, "cannot be given together with " .. other) end
      chosen[field.oneof] = inner
    end
    read_value(inner, field, depth + 1)
    local byte = peek()
    if byte ~= "," and byte ~= "}" then malformed(inner, "',' or '}'") end
    position = position + 1
    if byte == "}" then return end
  end
end

local ANY = {kind = "any"}

local function fields_of(message, path)
  local fields = MESSAGES[message]
  return function(key)
    local field = fields[key]
    if field then return join(path, field.name), field, field.name end
    local inner = join(path, key)
    violate(inner, "is not a field of " .. message)
    return inner, ANY, key
  end
end

local function any_key(path, field)
  return function(key) return path .. "[" .. quoted(key) .. "]", field, key end
end

read_value = function(path, field, depth)
  if depth > MAX_DEPTH then
    error({field = quoted(path), description = "is nested too deeply"}, 0)
  end
  local byte = peek()
  if byte == "n" then
    read_word(path, "null")
  elseif field.many and byte ~= "[" then
    read_value(path, ANY, depth)
    violate(path, "must be a list")
  elseif field.map and byte ~= "{" then
    read_value(path, ANY, depth)
    violate(path, "must be an object")
  elseif byte == "[" then
    if not field.many and field.kind ~= "any" then violate(path, "must not be a list") end
    read_list(path, field.many and field.element or ANY, depth)
  elseif byte == "{" then
    if field.map then
      read_object(path, depth, any_key(path, field.element))
    elseif field.kind == "message" then
      read_object(path, depth, fields_of(field.of, path))
    else
      if field.kind ~= "any" then
        violate(path, "must be " .. field.label .. ", not an object")
      end
      read_object(path, depth, any_key(path, ANY))
    end
  elseif byte == '"' then
    check_string(path, field, read_string(path))
  elseif byte == "t" or byte == "f" then
    read_word(path, byte == "t" and "true" or "false")
    if field.kind ~= "boolean" and field.kind ~= "any" then
      violate(path, "must be " .. field.label .. ", not a boolean")
    end
  else
    check_number(path, field, read_number(path))
  end
end

-- Returns the violations of a request body, nil when there are none.
local function check(method, body)
  text, position, violations = body, 1, {}
  local input = {kind = "message", of = method.input, label = "an object"}
  if method.stream then input = {many = true, element = input, kind = "message"} end
  local fine, failure = pcall(function()
    read_value("", input, 1)
    skip_space()
    if position <= #text then malformed("", "nothing after the value") end
  end)
  if not fine then
    if type(failure) ~= "table" then error(failure, 0) end
    violations[#violations + 1] = failure
  end
  return violations
end
