-- Announces that the tenant is about to be read from PostgreSQL. The ticket is gone as soon as anything is booked that the reader may have missed.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 a ticket nobody else uses, 4 how long it is worth anything (ms)
-- Returns  the ticket to load with: readers that overlap share the first one; '' when the tenant is known
-- @include tenant.lua
if read_state() then return '' end
redis.call('SET', TICKET, EPOCH .. ':' .. ARGV[3], 'NX', 'PX', ARGV[4])
return redis.call('GET', TICKET)
