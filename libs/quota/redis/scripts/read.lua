-- Reads a tenant's figures, one of its holds, and how limits stand.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 hold id or '', 4 rules revision or '' (any), 5 count of claims, claims (see judge.lua)
-- Returns  { 'unknown' }, or { 'known', { seq, posted, held, covered, ceiling, unrecorded }, hold or '', views or '' of other rules }
-- @include tenant.lua
-- @include counters.lua
-- @include hold.lua
-- @include leases.lua
-- @include judge.lua
local state = read_state()
if not state then return { 'unknown' } end
local figures = wallet_of(state)
figures[4], figures[5], figures[6] = state.covered, redis.call('HGET', STATE, 'ceiling'), state.unrecorded
local hold = ARGV[3] ~= '' and find_hold(ARGV[3])
local views_told = ''
if ARGV[4] == '' or tonumber(ARGV[4]) == state.rules then
  local claims = read_claims(6, tonumber(ARGV[5]))
  preload_claims({ claims })
  views_told = tell_views(claims)
  write_counters()
end
return { 'known', figures, hold and tell_hold(ARGV[3], hold) or '', views_told }
