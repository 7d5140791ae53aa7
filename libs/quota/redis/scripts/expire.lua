-- Ends a tenant's active holds whose time ran out: calls become unresolved, fences are released.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 at most so many
-- Returns  { 1, holds, when to look again or '' }, or { 0 } of an unknown tenant
-- Costs  what it ends: a sorted set keeps holds by the quarter second they run out in.
-- @include tenant.lua
-- @include counters.lua
-- @include hold.lua
-- @include hold-end.lua
local state = read_state()
if not state then return { 0 } end
local told = {}
for _, hold_id in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', text(end_bucket(NOW) - 1), 'LIMIT', 0, tonumber(ARGV[3]))) do
  redis.call('ZREM', ENDS, hold_id)
  local hold = find_hold(hold_id)
  local ended = hold and hold.state == 'active' and ended_hold(hold, hold.kind == 'fence' and 'released' or 'unresolved', 'expired')
  if ended then
    replace_hold(state, hold_id, hold, ended)
    told[#told + 1] = tell_hold(hold_id, ended)
  end
end
write_counters()
local next_end = redis.call('ZRANGE', ENDS, 0, 0, 'WITHSCORES')
if #next_end == 0 then
  state.due = -1
  write_state(state)
  return { 1, told, '' }
end
state.due = (tonumber(next_end[2]) + 1) * END_BUCKET_MS
write_state(state)
return { 1, told, text(state.due) }
