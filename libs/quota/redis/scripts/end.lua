-- Ends a hold; a second ending changes nothing (H3).
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 hold id, 4 to (settled, released, unresolved), 5 resolution
-- Returns  { 'unknown' | 'not_found' }, { 'ended_before', hold }, { 'ended', hold, wallet }
-- @include tenant.lua
-- @include counters.lua
-- @include hold.lua
-- @include hold-end.lua
local state = read_state()
if not state then return { 'unknown' } end
local hold = find_hold(ARGV[3])
if not hold then return { 'not_found' } end
local ended = ended_hold(hold, ARGV[4], ARGV[5])
if not ended then return { 'ended_before', tell_hold(ARGV[3], hold) } end
replace_hold(state, ARGV[3], hold, ended)
write_counters()
write_state(state)
return { 'ended', tell_hold(ARGV[3], ended), wallet_of(state) }
