-- Fragment: a tenant's counters, the port of memory/counter-table.ts. Needs tenant.lua.
-- A counter is one field: packed { 0, end or -1, used, held } of a fixed window, { 1, sub-bucket ms, used, held, sub-buckets } of a rolling one
-- (sums over all of them; each 24 bytes: start, used, held; oldest first, at most 62), { 2, running } of running calls, whose slots are members
-- "counter\nhold" of SLOTS by their end, { 3, end or -1, granted, fenced, version } of a lease (leases.lua). Packed are a byte and doubles. One
-- field read and one written per claim, whatever else the tenant counts; a counter that is not there stands at zero.
local ROLLING_BUCKETS = 60
local SMALLEST_LOOK = 1024
-- A clock that is set back a little must find the period it left.
local GRACE_MS = 3600000
-- A batch has as many counters as it has; HMGET, HSET and unpack take so many of them in one go.
local MOST_AT_ONCE = 1000
local BUCKET, BUCKET_BYTES = '<ddd', 24
local counters, changed = {}, {}
local grown = false

local function unpack_counter(packed)
  local kind = string.byte(packed)
  if kind == 0 then
    local ends, used, held = struct.unpack('<ddd', packed, 2)
    return { 0, ends, used, held }
  end
  if kind == 1 then
    local bucket, used, held = struct.unpack('<ddd', packed, 2)
    return { 1, bucket, used, held, string.sub(packed, 26) }
  end
  if kind == 2 then return { 2, (struct.unpack('<d', packed, 2)) } end
  local ends, granted, fenced, version = struct.unpack('<dddd', packed, 2)
  return { 3, ends, granted, fenced, version }
end

local function pack_counter(counter)
  local kind = counter[1]
  if kind == 0 then return struct.pack('<Bddd', 0, counter[2], counter[3], counter[4]) end
  if kind == 1 then return struct.pack('<Bddd', 1, counter[2], counter[3], counter[4]) .. counter[5] end
  if kind == 2 then return struct.pack('<Bd', 2, counter[2]) end
  return struct.pack('<Bdddd', 3, counter[2], counter[3], counter[4], counter[5])
end

local function remember(name, packed)
  counters[name] = packed and unpack_counter(packed) or false
end

local function preload(names)
  if #names == 0 then return end
  local packed = redis.call('HMGET', COUNTERS, unpack(names))
  for index, name in ipairs(names) do remember(name, packed[index]) end
end

local function counter_at(name)
  if counters[name] == nil then remember(name, redis.call('HGET', COUNTERS, name)) end
  return counters[name]
end

-- kind: f, r or c; param: end of the period or -1, sub-bucket or slot length in ms.
local function counter_for(name, kind, param)
  local counter = counter_at(name)
  if not counter then
    if kind == 'f' then counter = { 0, param, 0, 0 } elseif kind == 'r' then counter = { 1, param, 0, 0, '' } else counter = { 2, 0 } end
    counters[name] = counter
    grown = true
  end
  changed[name] = true
  return counter
end

local function bucket_start(at, bucket)
  return math.floor(at / bucket) * bucket
end

local function oldest_bucket(bucket)
  return bucket_start(NOW - ROLLING_BUCKETS * bucket, bucket)
end

local function sums_from(packed, index)
  local used, held = 0, 0
  while index < #packed do
    local _, bucket_used, bucket_held = struct.unpack(BUCKET, packed, index)
    used, held, index = used + bucket_used, held + bucket_held, index + BUCKET_BYTES
  end
  return used, held
end

-- Adds to the sub-bucket that `at` is in, and drops what left the window; one more stays for a process whose clock is behind. The sums are
-- kept with the counter and only those sub-buckets are looked at that come or go: a window with all its sub-buckets costs what an empty one does.
local function add_rolling(counter, at, used, held)
  local bucket, packed = counter[2], counter[5]
  local start, oldest = bucket_start(at, bucket), oldest_bucket(bucket) - bucket
  local exact = math.abs(counter[3]) <= LARGEST and counter[4] <= LARGEST
  local from = 1
  while from < #packed do
    local first, first_used, first_held = struct.unpack(BUCKET, packed, from)
    if first >= oldest then break end
    counter[3], counter[4], from = counter[3] - first_used, counter[4] - first_held, from + BUCKET_BYTES
  end
  if start >= oldest then
    counter[3], counter[4] = counter[3] + used, counter[4] + held
    local place = #packed + 1
    while place > from do
      local known, known_used, known_held = struct.unpack(BUCKET, packed, place - BUCKET_BYTES)
      if known < start then break end
      place = place - BUCKET_BYTES
      if known == start then
        packed = string.sub(packed, 1, place - 1) .. string.sub(packed, place + BUCKET_BYTES)
        used, held = used + known_used, held + known_held
        break
      end
    end
    packed = string.sub(packed, from, place - 1) .. struct.pack(BUCKET, start, used, held) .. string.sub(packed, place)
  elseif from > 1 then
    packed = string.sub(packed, from)
  end
  counter[5] = packed
  -- A sum that a double does not keep must not leave its error behind.
  if not exact or math.abs(counter[3]) > LARGEST or counter[4] > LARGEST then counter[3], counter[4] = sums_from(packed, 1) end
end

local function add(name, kind, param, at, used, held)
  local counter = counter_for(name, kind, param)
  if counter[1] == 0 then
    counter[3] = counter[3] + used
    counter[4] = counter[4] + held
    if math.abs(counter[3]) > LARGEST or counter[4] > LARGEST then error('counter beyond 9e15') end
  elseif counter[1] == 1 then
    add_rolling(counter, at, used, held)
  end
end

-- What a hold keeps of one of its limits changes by `change`; a running call has a slot or none.
local function add_held(claim, hold_id, created, change)
  if change == 0 then return end
  local name, kind, param = claim[1], claim[3], claim[4]
  if kind ~= 'c' then return add(name, kind, param, created, 0, change) end
  local counter = counter_for(name, kind, param)
  local member = name .. '\n' .. hold_id
  if change > 0 then
    counter[2] = counter[2] + redis.call('ZADD', SLOTS, created + param, member)
  else
    counter[2] = counter[2] - redis.call('ZREM', SLOTS, member)
  end
end

-- Slots that ran out count no longer; each is removed once, so this costs a call what it added.
local function drop_past_slots()
  while true do
    local past = redis.call('ZRANGEBYSCORE', SLOTS, '-inf', ARGV[2], 'LIMIT', '0', '500')
    if #past == 0 then return end
    for _, member in ipairs(past) do
      local name = string.match(member, '^(.*)\n[^\n]*$')
      local counter = counter_at(name)
      if counter then
        counter[2] = counter[2] - 1
        changed[name] = true
      end
    end
    redis.call('ZREM', SLOTS, unpack(past))
  end
end

-- Used and held. Of a rolling window what has left it is taken off: one or two sub-buckets, unless nobody added to it for a while.
local function view(name)
  local counter = counter_at(name)
  if not counter then return 0, 0 end
  if counter[1] == 0 then return counter[3], counter[4] end
  if counter[1] == 2 then return 0, counter[2] end
  local used, held, packed, oldest = counter[3], counter[4], counter[5], oldest_bucket(counter[2])
  local exact, index = math.abs(used) <= LARGEST and held <= LARGEST, 1
  while index < #packed do
    local start, bucket_used, bucket_held = struct.unpack(BUCKET, packed, index)
    if start >= oldest then break end
    used, held, index = used - bucket_used, held - bucket_held, index + BUCKET_BYTES
  end
  if exact then return used, held end
  return sums_from(packed, index)
end

-- { start, used and held } of the sub-buckets in a rolling window, oldest first.
local function buckets_of(name)
  local counter, found = counter_at(name), {}
  if not counter then return found end
  local packed, oldest = counter[5], oldest_bucket(counter[2])
  for index = 1, #packed, BUCKET_BYTES do
    local start, used, held = struct.unpack(BUCKET, packed, index)
    if start >= oldest then found[#found + 1] = { start, used + held } end
  end
  return found
end

-- Looks through all counters when they have doubled since the last look, so that a call pays for no more than itself.
local function drop_past_counters()
  local size = redis.call('HLEN', COUNTERS)
  if size < (tonumber(redis.call('HGET', STATE, 'look') or SMALLEST_LOOK)) then return end
  local function is_past(counter)
    if counter[1] == 0 then return counter[2] >= 0 and counter[2] + GRACE_MS <= NOW end
    if counter[1] == 2 then return counter[2] <= 0 end
    if counter[1] == 3 then return counter[2] >= 0 and counter[2] + GRACE_MS <= NOW end
    local packed = counter[5]
    return packed == '' or struct.unpack('<d', packed, #packed - BUCKET_BYTES + 1) + (ROLLING_BUCKETS + 1) * counter[2] <= NOW
  end
  local all = redis.call('HGETALL', COUNTERS)
  for index = 1, #all, 2 do
    if is_past(unpack_counter(all[index + 1])) then
      redis.call('HDEL', COUNTERS, all[index])
      size = size - 1
    end
  end
  redis.call('HSET', STATE, 'look', text(math.max(SMALLEST_LOOK, 2 * size)))
end

local function write_counters()
  local pairs_of = {}
  for name in pairs(changed) do
    pairs_of[#pairs_of + 1] = name
    pairs_of[#pairs_of + 1] = pack_counter(counters[name])
    if #pairs_of >= MOST_AT_ONCE then
      redis.call('HSET', COUNTERS, unpack(pairs_of))
      pairs_of = {}
    end
  end
  if #pairs_of > 0 then redis.call('HSET', COUNTERS, unpack(pairs_of)) end
  changed = {}
  if grown then drop_past_counters() end
end
