-- Takes over an unknown tenant as PostgreSQL tells it. One that is known stays as it is.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 ticket, 4 seq, 5 posted, 6 ceiling, 7 covered, 8 booked, 9 rules revision, 10 fenced until,
--       11 count of holds, per hold: id and the values of FIELDS, count of claims, claims (name, metric, kind, param,
--       amount); then the count of recent calls (digest, resolved at); then the count of counters (name, kind, param, at, amount);
--       then the number up to which tellings of grants are older, the count of leases (lease, end or -1, granted, fenced, version)
-- Returns  { 'loaded', due or '' } | { 'known' } | { 'superseded' }: something was booked since the ticket was made, so read again
-- Guarantees  holds of this epoch that have no row yet, promised by other processes a moment ago, are kept.
-- @include tenant.lua
-- @include counters.lua
-- @include hold.lua
-- @include hold-put.lua
-- @include hold-end.lua
local FIELDS = {
  'state', 'resolution', 'amount', 'captured', 'tokens', 'requests', 'policy', 'kind', 'created', 'expires', 'resolved', 'digest', 'body', 'facts',
}

if read_state() then return { 'known' } end
if redis.call('GET', TICKET) ~= ARGV[3] or string.sub(ARGV[3], 1, #EPOCH + 1) ~= EPOCH .. ':' then return { 'superseded' } end

local loaded, order, at = {}, {}, 12
for index = 1, tonumber(ARGV[11]) do
  local hold_id, hold = ARGV[at], { recorded = 1, claims = {} }
  for field = 1, 14 do
    local name, value = FIELDS[field], ARGV[at + field]
    local is_text = name == 'state' or name == 'resolution' or name == 'policy' or name == 'kind' or name == 'digest' or name == 'body' or name == 'facts'
    hold[name] = is_text and value or tonumber(value)
  end
  local count = tonumber(ARGV[at + 15])
  at = at + 16
  for claim = 1, count do
    hold.claims[claim] = { ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]) }
    at = at + 5
  end
  loaded[hold_id] = hold
  order[index] = hold_id
end

local unwritten = {}
if redis.call('HGET', STATE, 'was') == EPOCH then
  for _, hold_id in ipairs(redis.call('HKEYS', HOLDS)) do
    local hold = not loaded[hold_id] and find_hold(hold_id)
    if hold and hold.recorded == 0 then unwritten[hold_id] = hold end
  end
end
redis.call('UNLINK', STATE, COUNTERS, HOLDS, CALLS, ENDS, SLOTS, TICKET)
redis.call('HSET', STATE, 'epoch', EPOCH, 'seq', ARGV[4], 'posted', ARGV[5], 'ceiling', ARGV[6])
local state = {
  covered = tonumber(ARGV[7]), booked = tonumber(ARGV[8]), rules = tonumber(ARGV[9]), fenced = tonumber(ARGV[10]), due = -1, held = 0, unrecorded = 0,
  swept = -1,
}
local due = ''
local function take(hold_id, hold)
  local told = put_hold(state, hold_id, hold)
  if told ~= '' then due = told end
end
for _, hold_id in ipairs(order) do take(hold_id, loaded[hold_id]) end
for hold_id, hold in pairs(unwritten) do take(hold_id, hold) end

local calls = tonumber(ARGV[at])
at = at + 1
for _ = 1, calls do
  remember_resolved(state, ARGV[at], tonumber(ARGV[at + 1]))
  at = at + 2
end
local count = tonumber(ARGV[at])
at = at + 1
for _ = 1, count do
  add(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), 0)
  at = at + 5
end
redis.call('HSET', STATE, 'leases', ARGV[at])
count = tonumber(ARGV[at + 1])
at = at + 2
for _ = 1, count do
  counters[ARGV[at]] = { 3, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]) }
  changed[ARGV[at]] = true
  at = at + 5
end
write_counters()
write_state(state)
return { 'loaded', due }
