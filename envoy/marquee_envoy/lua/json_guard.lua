-- Checks the JSON form of a request against the contracts before it is transcoded, because the
-- transcoder drops unknown fields silently and names no field when it refuses a value. Notes also
-- whom a call is about, for the choice of a replica.
--
-- The renderer puts json_reader.lua, what that needs, and the names ERROR_DOMAIN, METADATA, ANSWERED, JWT_AUTHN, CLAIMS
-- and HASH_HEADER in front of this file.

local function json_string(value)
  return '"' .. value:gsub('[%c"\\]', function(c)
    return string.format("\\u%04x", c:byte())
  end) .. '"'
end

local function refuse(handle, status, code, reason, message, detail)
  -- Tells the connection manager to leave this answer as it is.
  handle:streamInfo():dynamicMetadata():set(METADATA, ANSWERED, true)
  handle:respond(
    {[":status"] = status, ["content-type"] = "application/json"},
    string.format(
      '{"code":%d,"message":%s,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",'
        .. '"reason":"%s","domain":"%s"}%s]}',
      code, json_string(message), reason, ERROR_DOMAIN, detail and "," .. detail or ""))
end

local function refuse_fields(handle, found)
  local fields, sentences = {}, {}
  for _, violation in ipairs(found) do
    fields[#fields + 1] = string.format('{"field":%s,"description":%s}',
      json_string(violation.field), json_string(violation.description))
    sentences[#sentences + 1] = violation.field .. ": " .. violation.description
  end
  refuse(handle, "400", 3, "INVALID_FIELD", table.concat(sentences, "; "),
    '{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":['
      .. table.concat(fields, ",") .. "]}")
end

-- Calls of one person are best answered by one replica. A service speaks for many, and says for
-- whom by a header that the connection manager has copied.
local function note_the_person(handle, headers)
  if headers:get(HASH_HEADER) then return end
  local verified = handle:streamInfo():dynamicMetadata():get(JWT_AUTHN)
  local subject = verified and verified[CLAIMS] and verified[CLAIMS].sub
  if type(subject) == "string" and subject:find("^[\33-\126]+$")
     and not subject:find("^service:") then
    headers:replace(HASH_HEADER, subject)
  end
end

-- Requires the content type that a page of another site cannot send without asking beforehand.
local function is_json(content_type)
  return content_type:lower():match("^[^;%s]*") == "application/json"
end

-- As Envoy tells it: what the transcoder takes for JSON must not pass for gRPC here.
local function is_grpc(content_type)
  return content_type == "application/grpc" or content_type:find("^application/grpc[+;]")
    or content_type:find("^application/grpc%-web")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  note_the_person(handle, headers)
  local content_type = headers:get("content-type") or ""
  local path, query = (headers:get(":path") or ""):match("^([^?]*)%??(.*)$")
  if is_grpc(content_type) then
    if query ~= "" or headers:get(":method") ~= "POST" then
      return handle:respond({[":status"] = "404"}, "")
    end
    -- gRPC's core resets a call without it, which would look like a failure of the service.
    headers:replace("te", "trailers")
    return
  end

  local method = METHODS[path]
  if not method then
    return refuse(handle, "404", 5, "NO_SUCH_METHOD",
      "nothing is served at this path: call POST /package.Service/Method")
  end
  if headers:get(":method") ~= "POST" then
    return refuse(handle, "405", 12, "NOT_POST", "call this method with POST")
  end
  if not is_json(content_type) then
    return refuse(handle, "415", 3, "MALFORMED_REQUEST",
      "the request must have the content type application/json")
  end
  if query ~= "" then
    return refuse_fields(handle, {{field = quoted(query:match("^[^=&]*")),
      description = "is a query parameter: put the request into the body, as JSON"}})
  end
  local body = handle:body()
  if not body or body:length() == 0 then return end
  local found = check(method, body:getBytes(0, body:length()))
  if #found > 0 then refuse_fields(handle, found) end
end
