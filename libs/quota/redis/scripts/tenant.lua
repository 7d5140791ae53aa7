-- Fragment: one tenant's keys and figures.
-- KEYS  1 state, 2 counters, 3 holds, 4 open calls, 5 ends of holds, 6 slots of running calls, 7 calls that ended lately, 8 ticket of a load.
-- ARGV  1 epoch, 2 now (ms). Every number was checked before it was sent: an integer of at most 9e15 either way.
-- Guarantees: state of another epoch is unknown, never read; what is written as text is written with '%.0f', because Lua would print
-- 1e+15 of a large number. promised and ceiling grow for ever, beyond what a double keeps: they are texts, and only their difference
-- (covered) is calculated with.
local STATE, COUNTERS, HOLDS, CALLS, ENDS, SLOTS, RESOLVED, TICKET = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local EPOCH, NOW = ARGV[1], tonumber(ARGV[2])
local LARGEST = 9000000000000000
local FORGOTTEN_KEPT_MS = 3600000
local RESOLVED_KEPT_MS = 1200000
local MINUTE_MS = 60000
local KEPT_MINUTES = 15
-- A hold ends at the first sweep after the quarter second it runs out in.
local END_BUCKET_MS = 250
local OVERDUE_MS = 5000

local function text(number)
  return string.format('%.0f', number)
end

-- Beyond 9e15 a double loses nano-dollars: less is told than there is.
local function clamp(number)
  if number > LARGEST then return LARGEST end
  if number < -LARGEST then return -LARGEST end
  return number
end

local function read_state()
  local field = redis.call('HMGET', STATE, 'epoch', 'rules', 'seq', 'posted', 'held', 'covered', 'booked', 'fenced', 'due', 'unrecorded')
  if field[1] ~= EPOCH then return nil end
  return {
    rules = tonumber(field[2]), seq = field[3], posted_text = field[4], posted = clamp(tonumber(field[4])), held = tonumber(field[5]),
    covered = tonumber(field[6]), booked = tonumber(field[7]), fenced = tonumber(field[8]), due = field[9] and tonumber(field[9]) or nil,
    unrecorded = tonumber(field[10]),
  }
end

-- Writes the figures that commands change; the rest is written where it changes.
local function write_state(state)
  if state.held > LARGEST then error('held money beyond 9e15') end
  redis.call('HSET', STATE, 'held', text(state.held), 'covered', text(state.covered), 'unrecorded', text(state.unrecorded))
end

local function wallet_of(state)
  return { state.seq, state.posted_text, text(state.held) }
end

-- Holds without a row stay: whoever loads the tenant in the same epoch keeps them. A load under way has read too early.
local function forget()
  local epoch = redis.call('HGET', STATE, 'epoch')
  redis.call('DEL', TICKET)
  if not epoch then return end
  redis.call('HSET', STATE, 'was', epoch)
  redis.call('HDEL', STATE, 'epoch', 'due')
  for index = 1, 6 do redis.call('PEXPIRE', KEYS[index], FORGOTTEN_KEPT_MS) end
end

-- When the tenant has to be looked at by the sweep, told only if nobody was told of a time as early: '' else. A time that is past for so
-- long was told to a process that is gone: told again.
local function note_due(state, at)
  if state.due and state.due <= at then return state.due > NOW - OVERDUE_MS and '' or text(state.due) end
  state.due = at
  redis.call('HSET', STATE, 'due', text(at))
  return text(at)
end

local function end_bucket(at)
  return math.floor(at / END_BUCKET_MS)
end
