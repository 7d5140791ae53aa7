-- Tells that promises up to a ceiling are committed. Never lowers.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 ceiling (at most 19 digits)
-- Returns  1, or 0 of an unknown tenant
-- @include tenant.lua
local state = read_state()
if not state then return 0 end
-- Ceilings grow for ever: their difference is calculated in two halves, so that a double keeps it exactly.
local function halves(digits)
  return tonumber(string.sub(digits, 1, -10)) or 0, tonumber(string.sub(digits, -9))
end
local high, low = halves(ARGV[3])
local known_high, known_low = halves(redis.call('HGET', STATE, 'ceiling'))
local rise = (high - known_high) * 1000000000 + (low - known_low)
-- More than 9e15 ahead of what was promised is not taken over, so that ceiling and covered stay that far apart.
rise = math.min(rise, LARGEST - state.covered)
if rise > 0 then
  redis.call('HINCRBY', STATE, 'ceiling', text(rise))
  state.covered = state.covered + rise
  write_state(state)
end
return 1
