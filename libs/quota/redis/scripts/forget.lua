-- Makes the tenant unknown. Holds without a row are kept for whoever loads it in the same epoch; a load under way has to read again.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now
-- Returns  1
-- @include tenant.lua
forget()
return 1
