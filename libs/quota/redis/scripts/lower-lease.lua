-- Lowers a grant, never below what the tenant has used, holds or may have lost. From then on nothing is promised of the rest.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 lease, 4 its counter, 5 end or -1, 6 granted, 7 version, 8 lower by no more than this or '', 9 only where so much is used and held or '',
--       10 version of the lowered grant, 11 revision of the rules that lease it: a tenant of older ones becomes unknown
-- Returns  { 'unknown' }, { 'newer' }: a later grant is known, or { 'looked', granted, used and held, last batch of bookings }
-- @include tenant.lua
-- @include counters.lua
-- @include leases.lua
local state = read_state()
if not state then return { 'unknown' } end
if tonumber(ARGV[11]) > state.rules then
  forget()
  return { 'unknown' }
end
local key, version = ARGV[3], tonumber(ARGV[7])
hear_grant(key, tonumber(ARGV[5]), tonumber(ARGV[6]), version)
local lease = counter_at(key)
if not lease or lease[5] ~= version then return { 'newer' } end
drop_past_slots()
local used, held = view(ARGV[4])
local committed = used + held
if ARGV[9] == '' or tonumber(ARGV[9]) == committed then
  local granted = lowered_grant(lease, committed, state.fenced, tonumber(ARGV[8]))
  if granted < lease[3] then
    lease[3], lease[5] = granted, tonumber(ARGV[10])
    changed[key] = true
  end
end
write_counters()
return { 'looked', text(lease[3]), text(committed), text(state.booked) }
