-- Tells of grants that are committed. One that is older than what is known, or than the tenant's load, changes nothing.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, then per grant: lease, end or -1, granted, version
-- Returns  1, or 0 of an unknown tenant
-- @include tenant.lua
-- @include counters.lua
-- @include leases.lua
if not read_state() then return 0 end
for index = 3, #ARGV, 4 do hear_grant(ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2]), tonumber(ARGV[index + 3])) end
write_counters()
return 1
