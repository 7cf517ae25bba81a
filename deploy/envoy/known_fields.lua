-- Refuses JSON with fields that the proto does not have, by name. Envoy's transcoder drops such fields and
-- has no option against it: request_validation_options are about methods and query parameters.
-- envoy.yaml loads this into each worker. What a request may have is read from precis.pb, the transcoder's
-- own descriptor. The whole body is read first, up to the listener's per_connection_buffer_limit_bytes.
local known_fields = {}

local MAX_DEPTH = 32
local types = {} -- ".precis.v1.SummarizeRequest" -> JSON name -> {list = boolean, message = type or nil}
local methods = {} -- path -> {type = its request's, stream = boolean}

local function varint(data, at)
  local value, scale = 0, 1
  repeat
    local byte = data:byte(at)
    value, scale, at = value + byte % 128 * scale, scale * 128, at + 1
  until byte < 128
  return value, at
end

-- Calls use[number](value) for the fields of an encoded message.
local function decode(data, use)
  local at, size = 1, #data
  while at <= size do
    local tag, value
    tag, at = varint(data, at)
    local kind = tag % 8
    if kind == 0 then
      value, at = varint(data, at)
    elseif kind == 2 then
      local length
      length, at = varint(data, at)
      value, at = data:sub(at, at + length - 1), at + length
    else
      at = at + (kind == 1 and 8 or 4)
    end
    local take = use[math.floor(tag / 8)]
    if take then take(value) end
  end
end

-- The numbers are those of google/protobuf/descriptor.proto.
local function read_field(data, fields)
  local field, names = {list = false}, {}
  decode(data, {
    [1] = function(name) names[1] = name end,
    [10] = function(json_name) names[2] = json_name end,
    [4] = function(label) field.list = label == 3 end,
    [5] = function(kind) field.is_message = kind == 11 end,
    [6] = function(type_name) field.type_name = type_name end,
  })
  field.message = field.is_message and field.type_name or nil
  for _, name in pairs(names) do fields[name] = field end
end

local function read_message(data, scope)
  local fields, name, nested = {}, nil, {}
  decode(data, {
    [1] = function(value) name = scope .. "." .. value end,
    [2] = function(value) read_field(value, fields) end,
    [3] = function(value) nested[#nested + 1] = value end,
  })
  types[name] = fields
  for _, value in ipairs(nested) do read_message(value, name) end
end

local function read_service(data, package)
  local service, found = nil, {}
  decode(data, {
    [1] = function(value) service = value end,
    [2] = function(value)
      local method = {stream = false}
      decode(value, {
        [1] = function(name) method.name = name end,
        [2] = function(type_name) method.type = type_name end,
        [5] = function(streams) method.stream = streams ~= 0 end,
      })
      found[#found + 1] = method
    end,
  })
  for _, method in ipairs(found) do methods["/" .. package .. "." .. service .. "/" .. method.name] = method end
end

local function read_file(data)
  local package, messages, services = "", {}, {}
  decode(data, {
    [2] = function(value) package = value end,
    [4] = function(value) messages[#messages + 1] = value end,
    [6] = function(value) services[#services + 1] = value end,
  })
  for _, message in ipairs(messages) do read_message(message, "." .. package) end
  for _, service in ipairs(services) do read_service(service, package) end
end

function known_fields.load(path)
  local file = assert(io.open(path, "rb"))
  decode(file:read("*a"), {[1] = read_file})
  file:close()
end

-- A fault is thrown as a table: where it is, and what it is.
local function fail(field, description)
  error({field = field, description = description}, 0)
end

local function fail_value(path, description)
  fail(path, path == "" and "the body " .. description or description)
end

local function fail_at(at)
  fail("", "the body is not JSON: byte " .. at)
end

local function skip_space(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

-- `at` is at the opening quote; gives the first byte of the string and its closing quote.
local function read_string(text, at)
  local from = at + 1
  local stop = from
  while true do
    stop = text:find('["\\]', stop)
    if not stop then fail_at(at) end
    if text:byte(stop) == 34 then return from, stop end
    stop = stop + 2
  end
end

local function join(path, name)
  return path == "" and name or path .. "." .. name
end

local function read_key(text, at, path)
  if text:sub(at, at) ~= '"' then fail_at(at) end
  local from, stop = read_string(text, at)
  local key = text:sub(from, stop - 1):gsub("\\u00(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  if #key > 64 or not key:find("^[%w_.-]+$") then fail(path, "the name at byte " .. from .. " is no field's") end
  at = skip_space(text, stop + 1)
  if text:sub(at, at) ~= ":" then fail_at(at) end
  return key, skip_space(text, at + 1)
end

local check_value

-- Items from the opening bracket on, each read by read_item(at).
local function read_items(text, at, close, read_item)
  at = skip_space(text, at + 1)
  if text:sub(at, at) == close then return at + 1 end
  while true do
    at = skip_space(text, read_item(at))
    local next = text:sub(at, at)
    if next == close then return at + 1 end
    if next ~= "," then fail_at(at) end
    at = skip_space(text, at + 1)
  end
end

-- `message`: the type that an object here has, or nil; `list`: whether a list of them may be here. Gives what follows.
function check_value(text, at, path, message, list, depth)
  if depth > MAX_DEPTH then fail_value(path, "is nested too deep") end
  local first = text:sub(at, at)
  if first == "[" then
    if not list then fail_value(path, "is not a list") end
    return read_items(text, at, "]", function(item)
      return check_value(text, item, path, message, false, depth + 1)
    end)
  elseif first == "{" then
    if not message then fail_value(path, "is not an object") end
    return read_items(text, at, "}", function(item)
      local key, value = read_key(text, item, path)
      local field = types[message][key]
      if not field then fail(join(path, key), "there is no such field in " .. message:sub(2)) end
      return check_value(text, value, join(path, key), field.message, field.list, depth + 1)
    end)
  elseif first == '"' then
    local _, stop = read_string(text, at)
    return stop + 1
  end
  local _, stop = text:find("^[%w.+-]+", at) -- a number, true, false, null: the transcoder's to judge
  if not stop then fail_at(at) end
  return stop + 1
end

local function find_fault(text, method)
  local ok, fault = pcall(function()
    local at = check_value(text, skip_space(text, 1), "", method.type, method.stream, 0)
    at = skip_space(text, at)
    if at <= #text then fail_at(at) end
  end)
  if ok then return nil end
  return type(fault) == "table" and fault or {field = "", description = "the body cannot be read"}
end

-- As the transcoder writes a server's INVALID_ARGUMENT.
local function answer(fault)
  local message = (fault.field == "" and "" or fault.field .. ": ") .. fault.description
  return '{"code":3,"message":"' .. message .. '","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest",' ..
    '"field_violations":[{"field":"' .. fault.field .. '","description":"' .. fault.description .. '"}]}]}'
end

function known_fields.check(request)
  local headers = request:headers()
  if (headers:get("content-type") or ""):find("^application/grpc") then return end
  local method = methods[headers:get(":path"):match("^[^?]*")]
  if not method then return end -- 404, by the transcoder
  local body = request:body()
  local size = body and body:length() or 0
  if size == 0 then return end
  local fault = find_fault(body:getBytes(0, size), method)
  if fault then
    request:respond({[":status"] = "400", ["content-type"] = "application/json"}, answer(fault))
  end
end

return known_fields
