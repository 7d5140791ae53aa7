-- Fragment: a tenant's counters, the port of memory/counter-table.ts. Needs tenant.lua.
-- A counter is one field: packed { 0, end or -1, used, held } of a fixed window, { 1, sub-bucket ms, start, used, held, start, ... } of a
-- rolling one (oldest first, at most 62 sub-buckets), { 2, running } of running calls, whose slots are members "counter\nhold" of SLOTS by
-- their end, { 3, end or -1, granted, fenced, version } of a lease (leases.lua). One field read and one written per claim, whatever else the tenant counts; a counter that is not there stands at zero.
local ROLLING_BUCKETS = 60
local SMALLEST_LOOK = 1024
-- A clock that is set back a little must find the period it left.
local GRACE_MS = 3600000
local counters, changed, views = {}, {}, {}
local grown = false

local function remember(name, packed)
  counters[name] = packed and cmsgpack.unpack(packed) or false
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

local function touch(name)
  changed[name] = true
  views[name] = nil
end

-- kind: f, r or c; param: end of the period or -1, sub-bucket or slot length in ms.
local function counter_for(name, kind, param)
  local counter = counter_at(name)
  if not counter then
    if kind == 'f' then counter = { 0, param, 0, 0 } elseif kind == 'r' then counter = { 1, param } else counter = { 2, 0 } end
    counters[name] = counter
    grown = true
  end
  touch(name)
  return counter
end

local function bucket_start(at, bucket)
  return math.floor(at / bucket) * bucket
end

local function oldest_bucket(bucket)
  return bucket_start(NOW - ROLLING_BUCKETS * bucket, bucket)
end

-- Adds to the sub-bucket that `at` is in, and drops what left the window; one more stays for a process whose clock is behind.
local function add_rolling(counter, at, used, held)
  local bucket = counter[2]
  local start = bucket_start(at, bucket)
  local kept = { 1, bucket }
  local oldest = oldest_bucket(bucket) - bucket
  local placed = false
  local function place()
    placed = true
    if start < oldest then return end
    kept[#kept + 1] = start
    kept[#kept + 1] = used
    kept[#kept + 1] = held
  end
  for index = 3, #counter, 3 do
    if counter[index] == start then
      used = used + counter[index + 1]
      held = held + counter[index + 2]
    else
      if not placed and counter[index] > start then place() end
      if counter[index] >= oldest then
        kept[#kept + 1] = counter[index]
        kept[#kept + 1] = counter[index + 1]
        kept[#kept + 1] = counter[index + 2]
      end
    end
  end
  if not placed then place() end
  return kept
end

local function add(name, kind, param, at, used, held)
  local counter = counter_for(name, kind, param)
  if counter[1] == 0 then
    counter[3] = counter[3] + used
    counter[4] = counter[4] + held
    if math.abs(counter[3]) > LARGEST or counter[4] > LARGEST then error('counter beyond 9e15') end
  elseif counter[1] == 1 then
    counters[name] = add_rolling(counter, at, used, held)
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
    counter[2] = counter[2] + redis.call('ZADD', SLOTS, text(created + param), member)
  else
    counter[2] = counter[2] - redis.call('ZREM', SLOTS, member)
  end
end

-- Slots that ran out count no longer; each is removed once, so this costs a call what it added.
local function drop_past_slots()
  while true do
    local past = redis.call('ZRANGEBYSCORE', SLOTS, '-inf', text(NOW), 'LIMIT', 0, 500)
    if #past == 0 then return end
    for _, member in ipairs(past) do
      local name = string.match(member, '^(.*)\n[^\n]*$')
      local counter = counter_at(name)
      if counter then
        counter[2] = counter[2] - 1
        touch(name)
      end
    end
    redis.call('ZREM', SLOTS, unpack(past))
  end
end

local EMPTY = { used = 0, held = 0, buckets = {} }

local function view(name)
  if views[name] then return views[name] end
  local counter = counter_at(name)
  local found = EMPTY
  if counter and counter[1] == 0 then
    found = { used = counter[3], held = counter[4], buckets = {} }
  elseif counter and counter[1] == 2 then
    found = { used = 0, held = counter[2], buckets = {} }
  elseif counter then
    found = { used = 0, held = 0, buckets = {} }
    local oldest = oldest_bucket(counter[2])
    for index = 3, #counter, 3 do
      if counter[index] >= oldest then
        found.used = found.used + counter[index + 1]
        found.held = found.held + counter[index + 2]
        found.buckets[#found.buckets + 1] = { counter[index], counter[index + 1] + counter[index + 2] }
      end
    end
  end
  views[name] = found
  return found
end

local function is_past(counter)
  if counter[1] == 0 then return counter[2] >= 0 and counter[2] + GRACE_MS <= NOW end
  if counter[1] == 2 then return counter[2] <= 0 end
  if counter[1] == 3 then return counter[2] >= 0 and counter[2] + GRACE_MS <= NOW end
  return #counter < 3 or counter[#counter - 2] + (ROLLING_BUCKETS + 1) * counter[2] <= NOW
end

-- Looks through all counters when they have doubled since the last look, so that a call pays for no more than itself.
local function drop_past_counters()
  local size = redis.call('HLEN', COUNTERS)
  if size < (tonumber(redis.call('HGET', STATE, 'look') or SMALLEST_LOOK)) then return end
  local all = redis.call('HGETALL', COUNTERS)
  for index = 1, #all, 2 do
    if is_past(cmsgpack.unpack(all[index + 1])) then
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
    pairs_of[#pairs_of + 1] = cmsgpack.pack(counters[name])
    if #pairs_of >= 1000 then
      redis.call('HSET', COUNTERS, unpack(pairs_of))
      pairs_of = {}
    end
  end
  if #pairs_of > 0 then redis.call('HSET', COUNTERS, unpack(pairs_of)) end
  changed = {}
  if grown then drop_past_counters() end
end
