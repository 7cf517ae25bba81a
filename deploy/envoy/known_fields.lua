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

-- A fault is thrown as a table: where it is, and what it is. `path` is the names of the fields on the way.
local function fail(path, description)
  local field = table.concat(path, ".")
  error({field = field, description = field == "" and "the body " .. description or description}, 0)
end

local function fail_at(at)
  error({field = "", description = "the body is not JSON: byte " .. at}, 0)
end

local QUOTE, COMMA, COLON, LIST, LIST_END, OBJECT, OBJECT_END = ('",:[]{}'):byte(1, -1)

local function skip_space(text, at)
  local byte = text:byte(at)
  if byte and byte > 32 then return at, byte end
  at = text:find("[^ \t\r\n]", at) or #text + 1
  return at, text:byte(at)
end

-- `at` is at the opening quote; gives what follows the closing one.
local function skip_string(text, at)
  local stop = at + 1
  while true do
    stop = text:find('["\\]', stop)
    if not stop then fail_at(at) end
    if text:byte(stop) == QUOTE then return stop + 1 end
    stop = stop + 2
  end
end

-- The name of a field, and where its value begins.
local function read_name(text, at, path)
  local _, stop, name = text:find('^"([%w_.-]*)"', at)
  if not name then -- escaped, perhaps
    if text:byte(at) ~= QUOTE then fail_at(at) end
    stop = skip_string(text, at) - 1
    name = text:sub(at + 1, stop - 1):gsub("\\u00(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  end
  if #name > 64 or not name:find("^[%w_.-]+$") then fail(path, "has no field of the name at byte " .. at) end
  local colon, byte = skip_space(text, stop + 1)
  if byte ~= COLON then fail_at(colon) end
  return name, (skip_space(text, colon + 1))
end

local skip_value

-- After a value in a list or an object: where the next one begins, or nil and what follows the end.
local function skip_comma(text, at, closing)
  local byte
  at, byte = skip_space(text, at)
  if byte == closing then return nil, at + 1 end
  if byte ~= COMMA then fail_at(at) end
  return (skip_space(text, at + 1))
end

local function skip_list(text, at, path, message, depth)
  local byte
  if not message then -- numbers: nothing in them needs a look
    local _, stop = text:find([=[^[^%[%]{}"']*%]]=], at + 1)
    if stop then return stop + 1 end
  end
  at, byte = skip_space(text, at + 1)
  if byte == LIST_END then return at + 1 end
  local after
  repeat
    at, after = skip_comma(text, skip_value(text, at, path, message, false, depth), LIST_END)
  until not at
  return after
end

local function skip_object(text, at, path, message, depth)
  local byte
  at, byte = skip_space(text, at + 1)
  if byte == OBJECT_END then return at + 1 end
  local fields, place, after = types[message], #path + 1, nil
  repeat
    local name, value = read_name(text, at, path)
    local field = fields[name]
    path[place] = name
    if not field then fail(path, "there is no such field in " .. message:sub(2)) end
    value = skip_value(text, value, path, field.message, field.list, depth)
    path[place] = nil
    at, after = skip_comma(text, value, OBJECT_END)
  until not at
  return after
end

-- Gives what follows the value at `at`. `message`: the type that an object here has, or nil; `list`: whether
-- a list of them may be here.
function skip_value(text, at, path, message, list, depth)
  local byte = text:byte(at)
  if byte == QUOTE then return skip_string(text, at) end
  if byte == LIST or byte == OBJECT then
    if depth == MAX_DEPTH then fail(path, "is nested too deep") end
    if byte == LIST then
      if not list then fail(path, "is not a list") end
      return skip_list(text, at, path, message, depth + 1)
    end
    if not message then fail(path, "is not an object") end
    return skip_object(text, at, path, message, depth + 1)
  end
  local _, stop = text:find("^[%w.+-]+", at) -- a number, true, false, null: the transcoder's to judge
  if not stop then fail_at(at) end
  return stop + 1
end

local function find_fault(text, method)
  local ok, fault = pcall(function()
    local at = skip_value(text, (skip_space(text, 1)), {}, method.type, method.stream, 0)
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
