-- Applies the tenant's next balance; an older one is ignored, after a gap the tenant is unknown.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 seq, 4 posted
-- Returns  'applied' | 'old' | 'gap' | 'unknown'. On an unknown tenant a load under way has read too early, and has to read again.
-- @include tenant.lua
local state = read_state()
if not state then
  redis.call('DEL', TICKET)
  return 'unknown'
end
local seq, known = tonumber(ARGV[3]), tonumber(state.seq)
if seq <= known then return 'old' end
if seq > known + 1 then
  forget()
  return 'gap'
end
redis.call('HSET', STATE, 'seq', ARGV[3], 'posted', ARGV[4])
return 'applied'
