-- Tells that holds have their rows: a loss of the store can no longer lose them. A hold that was raised meanwhile has not.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, then per hold: id, amount of the row
-- Returns  how many were marked
-- @include tenant.lua
-- @include counters.lua
-- @include hold.lua
local state = read_state()
if not state then return 0 end
local marked = 0
for index = 3, #ARGV, 2 do
  local hold = find_hold(ARGV[index])
  if hold and hold.recorded == 0 and hold.amount == tonumber(ARGV[index + 1]) then
    hold.recorded = 1
    state.unrecorded = state.unrecorded - hold.amount
    redis.call('HSET', HOLDS, ARGV[index], pack_hold(hold))
    marked = marked + 1
  end
end
if marked > 0 then write_state(state) end
return marked
