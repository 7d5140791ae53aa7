-- Fragment: one tenant's keys and figures.
-- KEYS  1 state, 2 counters, 3 holds, 4 open calls, 5 ends of holds, 6 slots of running calls, 7 calls that ended lately, 8 ticket of a load.
-- ARGV  1 epoch, 2 now (ms). Every number was checked before it was sent: an integer of at most 9e15 either way.
-- Guarantees: state of another epoch is unknown, never read; what is written as text is written with '%.0f', because Lua would print
-- 1e+15 of a large number; what is told as a number is an integer that a double keeps. The ceiling grows for ever, beyond that: it is a
-- text, and what it still covers is calculated with. What was promised is their difference, and is not kept.
-- The figures of every command are one field, because reading and writing a field costs more than what is calculated with it.
local STATE, COUNTERS, HOLDS, CALLS, ENDS, SLOTS, RESOLVED, TICKET = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local EPOCH, NOW = ARGV[1], tonumber(ARGV[2])
local LARGEST = 9000000000000000
local FORGOTTEN_KEPT_MS = 3600000
local RESOLVED_KEPT_MS = 1200000
local MINUTE_MS = 60000
-- rules, held, covered, booked, fenced, due or -1, unrecorded, minute in which old calls were dropped last.
local FIGURES = '<dddddddd'
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
  local field = redis.call('HMGET', STATE, 'epoch', 'seq', 'posted', 'figures')
  if field[1] ~= EPOCH then return nil end
  local rules, held, covered, booked, fenced, due, unrecorded, swept = struct.unpack(FIGURES, field[4])
  return {
    seq = field[2], posted_text = field[3], posted = clamp(tonumber(field[3])), rules = rules, held = held, covered = covered, booked = booked,
    fenced = fenced, due = due, unrecorded = unrecorded, swept = swept,
  }
end

-- Writes the figures; the rest is written where it changes.
local function write_state(state)
  if state.held > LARGEST then error('held money beyond 9e15') end
  redis.call('HSET', STATE, 'figures', struct.pack(FIGURES, state.rules, state.held, state.covered, state.booked, state.fenced, state.due,
    state.unrecorded, state.swept))
end

local function wallet_of(state)
  return { state.seq, state.posted_text, state.held }
end

-- Holds without a row stay: whoever loads the tenant in the same epoch keeps them. A load under way has read too early.
local function forget()
  local epoch = redis.call('HGET', STATE, 'epoch')
  redis.call('DEL', TICKET)
  if not epoch then return end
  redis.call('HSET', STATE, 'was', epoch)
  redis.call('HDEL', STATE, 'epoch')
  for index = 1, 6 do redis.call('PEXPIRE', KEYS[index], FORGOTTEN_KEPT_MS) end
end

-- When the tenant has to be looked at by the sweep, told only if nobody was told of a time as early: '' else. A time that is past for so
-- long was told to a process that is gone: told again.
local function note_due(state, at)
  if state.due >= 0 and state.due <= at then return state.due > NOW - OVERDUE_MS and '' or text(state.due) end
  state.due = at
  return text(at)
end

local function end_bucket(at)
  return math.floor(at / END_BUCKET_MS)
end
