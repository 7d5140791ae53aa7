-- Judges a call against the wallet and every limit, and takes the hold, or changes nothing (H4).
-- KEYS  as tenant.lua
-- ARGV  1 epoch, 2 now, 3 hold id, 4 rules revision, 5 call digest or '', 6 body hash or '', 7 policy, 8 expires, 9 credit or '' (no limit),
--       10 enforce 0/1, 11 strict 0/1, 12 kind of hold, 13 candidates, then per candidate: amount, facts, count of claims, claims (see judge.lua)
-- Returns  { 'unknown' | 'stale_rules' | 'other_body' | 'already_resolved' }, { 'above_ceiling', ceiling, covered, amount },
--       { 'short_of_lease', shorts (see judge.lua) },
--       { 'replayed', hold, wallet, views of each candidate }, { 'refused', refusal, wallet, rooms, views of the first },
--       { 'held', candidate from 0, why, claim, would, wallet, views, covered, due or '' }
-- Costs  a fixed number of commands and one field per claim.
-- @include tenant.lua
-- @include counters.lua
-- @include hold.lua
-- @include hold-put.lua
-- @include leases.lua
-- @include judge.lua
local state = read_state()
if not state then return { 'unknown' } end
local revision = tonumber(ARGV[4])
if revision < state.rules then return { 'stale_rules' } end
if revision > state.rules then
  forget()
  return { 'unknown' }
end

local case = { candidates = {}, credit = tonumber(ARGV[9]), enforce = ARGV[10] == '1', fenced = state.fenced }
local lists, at = {}, 14
for index = 1, tonumber(ARGV[13]) do
  local candidate = { amount = tonumber(ARGV[at]), facts = ARGV[at + 1] }
  candidate.claims, at = read_claims(at + 3, tonumber(ARGV[at + 2]))
  case.candidates[index], lists[index] = candidate, candidate.claims
end
preload_claims(lists)

local digest = ARGV[5]
if digest ~= '' then
  local known_id = redis.call('HGET', CALLS, digest)
  local known = known_id and find_hold(known_id)
  if known then
    write_counters()
    if known.body ~= ARGV[6] then return { 'other_body' } end
    if known.state ~= 'active' then return { 'already_resolved' } end
    local told = {}
    for index, claims in ipairs(lists) do told[index] = tell_views(claims) end
    return { 'replayed', tell_hold(known_id, known), wallet_of(state), told }
  end
  local resolved = redis.call('ZSCORE', RESOLVED, string.sub(digest, 1, 16))
  if resolved and tonumber(resolved) >= math.floor(NOW / MINUTE_MS) - KEPT_MINUTES then return { 'already_resolved' } end
end

local choice, would = judge(case, state)
local shorts = shorts_of({ choice, would }, case)
if shorts then
  write_counters()
  return { 'short_of_lease', shorts }
end
if choice.refusal then
  local rooms = {}
  for index, candidate in ipairs(case.candidates) do rooms[index] = room_of(candidate, case, state) end
  write_counters()
  return { 'refused', tell_refusal(choice.refusal), wallet_of(state), rooms, tell_views(lists[1]) }
end

local candidate = case.candidates[choice.index]
local strict = ARGV[11] == '1'
if not strict then
  if candidate.amount > state.covered then
    write_counters()
    return { 'above_ceiling', redis.call('HGET', STATE, 'ceiling'), state.covered, candidate.amount }
  end
  state.covered = state.covered - candidate.amount
end
local kept = {}
for index, claim in ipairs(candidate.claims) do kept[index] = { claim.name, claim.metric, claim.kind, claim.param, claim.amount } end
local due = put_hold(state, ARGV[3], {
  state = 'active', resolution = '', amount = candidate.amount, captured = 0, tokens = 0, requests = 0, policy = ARGV[7], kind = ARGV[12], created = NOW,
  expires = tonumber(ARGV[8]), resolved = -1, digest = digest, body = ARGV[6], facts = candidate.facts, recorded = strict and 1 or 0, claims = kept,
})
write_counters()
write_state(state)
local told_would = ''
if would.refusal then
  told_would = { 'refused', tell_refusal(would.refusal) }
elseif would.index ~= choice.index then
  told_would = { 'taken', would.index - 1, would.why, would.claim }
end
return { 'held', choice.index - 1, choice.why, choice.claim, told_would, wallet_of(state), tell_views(candidate.claims), state.covered, due }
