-- Looks at the form of a token before it is verified. The verifier decides; this tells apart what
-- it cannot, or answers in one way: algorithms, and claims that are not there.
--
-- The renderer puts METADATA and REFUSAL in front of this file: where the reason goes, from which
-- the answer is made.

local ALGORITHM = "ES256"
local MAX_BYTES = 4096 -- as the services have it
local MAX_REMEMBERED = 2000

local DIGITS = {}
for index, digit in ipairs({("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    :byte(1, -1)}) do
  DIGITS[digit] = index - 1
end

-- Tokens come again and again; what has passed need not be taken apart once more.
local passed, count = {}, 0

local function decoded(segment)
  local bytes, held, bits = {}, 0, 0
  for index = 1, #segment do
    held, bits = held * 64 + DIGITS[segment:byte(index)], bits + 6
    if bits >= 8 then
      bits = bits - 8
      local scale = 2 ^ bits
      bytes[#bytes + 1] = string.char(math.floor(held / scale))
      held = held % scale
    end
  end
  return table.concat(bytes)
end

-- Returns why a token is refused, nil where the verifier is to decide.
local function fault_of(token)
  if #token > MAX_BYTES then return "TOKEN_MALFORMED" end
  local header, claims = token:match("^([%w_-]+)%.([%w_-]+)%.[%w_-]*$")
  if not header then return "TOKEN_MALFORMED" end
  header, claims = decoded(header), decoded(claims)
  local algorithm = header:match('"alg"%s*:%s*"([^"]*)"')
  if algorithm and algorithm ~= ALGORITHM then return "TOKEN_ALGORITHM_REFUSED" end
  if not algorithm or not header:find('"kid"%s*:%s*"[^"]')
     or not claims:find('"exp"%s*:%s*%d') or not claims:find('"sub"%s*:%s*"[^"]') then
    return "TOKEN_MALFORMED"
  end
end

local function remember(token)
  if count >= MAX_REMEMBERED then passed, count = {}, 0 end
  passed[token], count = true, count + 1
end

local function refuse(handle, reason)
  handle:streamInfo():dynamicMetadata():set(METADATA, REFUSAL, reason)
  handle:respond({[":status"] = "401"}, "")
end

-- grpc's core resets a call whose binary header is not base64, and the reset would be counted
-- against the replica.
local function drop_what_is_not_base64(headers)
  local broken = {}
  for name, value in pairs(headers) do
    if name:sub(-4) == "-bin" and value:find("[^%w+/=,]") then broken[#broken + 1] = name end
  end
  for _, name in ipairs(broken) do headers:remove(name) end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  drop_what_is_not_base64(headers)
  local shown = headers:get("authorization")
  if not shown then return end
  local scheme, token = shown:match("^(%a+) (%S+)$")
  if not scheme or scheme:lower() ~= "bearer" then return refuse(handle, "TOKEN_MALFORMED") end
  if scheme ~= "Bearer" then headers:replace("authorization", "Bearer " .. token) end
  if passed[token] then return end
  local fault = fault_of(token)
  if fault then return refuse(handle, fault) end
  remember(token)
end
