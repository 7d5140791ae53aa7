-- Raises an active hold's amount and end, if the rise fits the wallet and the limits the hold counts for. Never shortens, never lowers.
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 hold id, 4 whole amount, 5 expires, 6 credit or '', 7 enforce 0/1, 8 strict 0/1 (committed before it is answered: the
--       ceiling need not cover it), 9 facts, 10 count of claims, claims (see judge.lua)
-- Returns  { 'unknown' | 'not_found' }, { 'ended_before', hold }, { 'short_of_lease', shorts }, { 'refused', refusal, wallet }, { 'above_ceiling', ceiling, covered, rise },
--       { 'ended', hold, wallet, due or '' }; the refusal's claim counts from 1 in the claims of ARGV
-- @include tenant.lua
-- @include counters.lua
-- @include hold.lua
-- @include hold-end.lua
-- @include leases.lua
-- @include judge.lua
local state = read_state()
if not state then return { 'unknown' } end
local hold = find_hold(ARGV[3])
if not hold then return { 'not_found' } end
if hold.state ~= 'active' then return { 'ended_before', tell_hold(ARGV[3], hold) } end

local wanted = read_claims(11, tonumber(ARGV[10]))
local held, rising, amounts = {}, {}, {}
for _, claim in ipairs(hold.claims) do held[claim[1]] = claim[5] end
for _, claim in ipairs(wanted) do
  amounts[claim.name] = claim.amount
  local before = held[claim.name]
  if before and claim.amount > before then
    claim.amount = claim.amount - before
    rising[#rising + 1] = claim
  end
end
preload_claims({ rising })
local raised = copy_hold(hold)
raised.amount = math.max(hold.amount, tonumber(ARGV[4]))
raised.expires = math.max(hold.expires, tonumber(ARGV[5]))
if hold.facts ~= '' then raised.facts = ARGV[9] end
raised.claims = {}
for index, claim in ipairs(hold.claims) do
  raised.claims[index] = { claim[1], claim[2], claim[3], claim[4], math.max(claim[5], amounts[claim[1]] or claim[5]) }
end
local rise = raised.amount - hold.amount
local case = { candidates = { { amount = rise, claims = rising } }, credit = tonumber(ARGV[6]), enforce = ARGV[7] == '1', fenced = state.fenced }
local choice = judge(case, state)
local shorts = shorts_of({ choice }, case)
if shorts then
  write_counters()
  return { 'short_of_lease', shorts }
end
if choice.refusal then
  write_counters()
  return { 'refused', tell_refusal(choice.refusal), wallet_of(state) }
end
if rise > 0 and ARGV[8] ~= '1' then
  if rise > state.covered then
    write_counters()
    return { 'above_ceiling', redis.call('HGET', STATE, 'ceiling'), state.covered, rise }
  end
  state.covered = state.covered - rise
  raised.recorded = 0
end
replace_hold(state, ARGV[3], hold, raised)
write_counters()
write_state(state)
return { 'ended', tell_hold(ARGV[3], raised), wallet_of(state) }
