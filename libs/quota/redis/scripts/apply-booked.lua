-- Books one posting transaction of a tenant on its holds and counters, in order and once: after a gap the tenant is unknown.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 seq, 4 count of captures, per capture: hold id or '', call digest or '', nano, tokens, requests, closes 0/1,
--       provisional 0/1; then the count of counters, per counter: name, kind, param, at, amount
-- Returns  the holds it changed, as they are now. On an unknown tenant a load under way has read too early, and has to read again.
-- @include tenant.lua
-- @include counters.lua
-- @include hold.lua
-- @include hold-end.lua
local state = read_state()
if not state then
  redis.call('DEL', TICKET)
  return {}
end
local seq = tonumber(ARGV[3])
if seq <= state.booked then return {} end
if seq > state.booked + 1 then
  forget()
  return {}
end

local at = 5
local order, latest = {}, {}
local captures = {}
for index = 1, tonumber(ARGV[4]) do
  captures[index] = at
  at = at + 7
end
local count = tonumber(ARGV[at])
at = at + 1
local names = {}
for index = 1, math.min(count, MOST_AT_ONCE) do names[index] = ARGV[at + 5 * (index - 1)] end
preload(names)
for _ = 1, count do
  add(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), 0)
  at = at + 5
end
for _, from in ipairs(captures) do
  local hold_id = ARGV[from]
  if hold_id == '' and ARGV[from + 1] ~= '' then hold_id = redis.call('HGET', CALLS, ARGV[from + 1]) or '' end
  local hold = hold_id ~= '' and find_hold(hold_id)
  if hold then
    local after = copy_hold(hold)
    local nano = tonumber(ARGV[from + 2])
    after.captured = math.max(0, hold.captured + nano)
    after.tokens = math.max(0, hold.tokens + tonumber(ARGV[from + 3]))
    after.requests = math.max(0, hold.requests + tonumber(ARGV[from + 4]))
    if ARGV[from + 5] == '1' and can_end(after, 'settled') then set_ended(after, 'settled', 'event') end
    if ARGV[from + 6] == '1' and nano >= 0 and after.state == 'unresolved' then after.resolution = 'charged' end
    replace_hold(state, hold_id, hold, after)
    if not latest[hold_id] then order[#order + 1] = hold_id end
    latest[hold_id] = after
  end
end
state.booked = seq
write_counters()
write_state(state)
local told = {}
for index, hold_id in ipairs(order) do told[index] = tell_hold(hold_id, latest[hold_id]) end
return told
