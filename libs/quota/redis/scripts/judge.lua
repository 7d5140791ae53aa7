-- Fragment: THE decision, the port of domain/judge.ts and domain/wallet.ts: same names, same order, same integers. Needs counters.lua, leases.lua.
-- A claim here: { name, metric, kind, param, amount, rate, downgrade_at or nil, block_at or nil, enforced, silent, index, lease or nil }; a lease:
-- { block = percent or 0, downgrade = percent or 0, final }.
-- case: { candidates, credit (nil: nothing limits the wallet), enforce, fenced }. Sums are compared by subtraction, so that doubles stay exact.
local IN_FLIGHT_RETRY_MS = 1000
local UNRECORDED_PART = 8

local function remaining_of(state, case)
  return case.credit and clamp(state.posted + case.credit) or nil
end

local function wallet_refusal(state, case, amount)
  local remaining = remaining_of(state, case)
  if not remaining or amount == 0 then return nil end
  if remaining <= 0 then return { code = 'insufficient_funds', claim = 0, exact = false } end
  if amount > remaining then return { code = 'too_large', claim = 0, exact = false } end
  if amount > remaining - state.held then return { code = 'in_flight_exhausted', claim = 0, retry = IN_FLIGHT_RETRY_MS, exact = false } end
  return nil
end

local function fenced_limit(block_at, case)
  return NOW < case.fenced and block_at - math.floor(block_at / UNRECORDED_PART) or block_at
end

local function wait_for(claim, limit)
  local used, held = view(claim.name)
  local excess = claim.amount - (limit - used - held)
  if excess <= 0 then return 0 end
  if claim.amount > limit then return nil end
  if claim.kind == 'c' then return IN_FLIGHT_RETRY_MS end
  if claim.kind == 'f' then
    if claim.param < 0 then return nil end
    return claim.param - NOW
  end
  for _, bucket in ipairs(buckets_of(claim.name)) do
    excess = excess - bucket[2]
    if excess <= 0 then return bucket[1] + (ROLLING_BUCKETS + 1) * claim.param - NOW end
  end
  return nil
end

local function exact_retry(claim, fenced, case)
  local fenced_wait = wait_for(claim, fenced)
  if fenced == claim.block_at then return fenced_wait end
  local wait = wait_for(claim, claim.block_at)
  local after_fence = wait and math.max(wait, case.fenced - NOW)
  if not fenced_wait or not after_fence then return fenced_wait or after_fence end
  return math.min(fenced_wait, after_fence)
end

-- A limit of nothing is used up; one that is smaller than the call is not.
local function never_fits(claim)
  if claim.metric == 'c' then return 'concurrency_limited' end
  if claim.block_at > 0 and claim.metric ~= 'r' then return 'too_large' end
  return claim.rate and 'rate_limited' or 'budget_exhausted'
end

-- Up to where a claim may go: a shared one whose pool was asked no further than the tenant's grant.
local function reach_of(claim, at, percent, case)
  if not claim.lease then return fenced_limit(at, case) end
  if not claim.lease.final or percent == 0 then return at end
  return math.min(at, usable_of(counter_at(lease_key(claim.name, percent)), case.fenced))
end

local function claim_refusal(claim, case)
  local used, held = view(claim.name)
  -- What a crash may have lost of a shared limit is fenced in the grant.
  local fenced = claim.lease and claim.block_at or fenced_limit(claim.block_at, case)
  if claim.amount <= fenced - used - held then
    if not claim.lease or claim.amount <= reach_of(claim, claim.block_at, claim.lease.block, case) - used - held then return nil end
    return { code = 'global_lease', claim = claim.index, retry = IN_FLIGHT_RETRY_MS, exact = false }
  end
  if claim.amount > claim.block_at then
    return { code = never_fits(claim), claim = claim.index, exact = false }
  end
  if claim.kind == 'c' then return { code = 'concurrency_limited', claim = claim.index, retry = IN_FLIGHT_RETRY_MS, exact = false } end
  local retry = exact_retry(claim, fenced, case)
  if claim.rate then return { code = 'rate_limited', claim = claim.index, retry = retry, exact = retry ~= nil } end
  if claim.amount > fenced - used then return { code = 'budget_exhausted', claim = claim.index, retry = retry, exact = retry ~= nil } end
  local soon = retry ~= nil and retry < IN_FLIGHT_RETRY_MS
  return { code = 'in_flight_exhausted', claim = claim.index, retry = soon and retry or IN_FLIGHT_RETRY_MS, exact = soon }
end

local function lasts_longer(left, right)
  if not left.retry or not right.retry then return not left.retry and right.retry ~= nil end
  if left.exact ~= right.exact then return left.exact end
  return left.retry > right.retry
end

-- level: { wallet, shadow }: whether the wallet refuses, and whether claims do that are not enforced.
local function counts(claim, level)
  return not claim.silent and (level.shadow or claim.enforced)
end

local function refusal_of(candidate, case, state, level)
  local worst = level.wallet and wallet_refusal(state, case, candidate.amount) or nil
  for _, claim in ipairs(candidate.claims) do
    if claim.block_at and claim.amount ~= 0 and counts(claim, level) then
      local refusal = claim_refusal(claim, case)
      if refusal and (not worst or lasts_longer(refusal, worst)) then worst = refusal end
    end
  end
  return worst
end

local function passed_threshold(candidate, level, case)
  for _, claim in ipairs(candidate.claims) do
    if claim.downgrade_at and claim.amount ~= 0 and counts(claim, level) then
      local used, held = view(claim.name)
      local at = claim.lease and reach_of(claim, claim.downgrade_at, claim.lease.downgrade, case) or claim.downgrade_at
      if claim.amount > at - used - held then return claim end
    end
  end
  return nil
end

-- { index (from 1), why, claim (0: none) } or { refusal }
local function choose(case, state, level)
  local asked = case.candidates[1]
  local refused = refusal_of(asked, case, state, level)
  local passed = not refused and passed_threshold(asked, level, case) or nil
  if not refused and not passed then return { index = 1, why = 'ok', claim = 0 } end
  for index = 2, #case.candidates do
    if not refusal_of(case.candidates[index], case, state, level) then
      local claim = refused and refused.claim or 0
      if claim == 0 and passed then claim = passed.index end
      return { index = index, why = refused and 'budget_downgrade' or 'threshold_downgrade', claim = claim }
    end
  end
  if not refused then return { index = 1, why = 'ok', claim = 0 } end
  return { refusal = refused }
end

local function judge(case, state)
  local choice = choose(case, state, { wallet = case.enforce, shadow = false })
  local shadows = not case.enforce
  for _, candidate in ipairs(case.candidates) do
    for _, claim in ipairs(candidate.claims) do
      if not claim.enforced and not claim.silent then shadows = true end
    end
  end
  if not shadows then return choice, choice end
  return choice, choose(case, state, { wallet = true, shadow = true })
end

-- Which grants have to be larger before the candidate may be taken, or may be taken without passing a threshold:
-- { lease, counter, used and held and perhaps lost, amount, end or -1 }, added to `shorts`.
local function add_shorts(shorts, candidate, case)
  local function look(claim, percent, at)
    local used, held = view(claim.name)
    if percent == 0 or not at or claim.amount > at - used - held then return end
    local key = lease_key(claim.name, percent)
    local grant = counter_at(key)
    if shorts[key] or claim.amount <= usable_of(grant, case.fenced) - used - held then return end
    shorts[key] = true
    local committed = used + held + fenced_part(grant, case.fenced)
    shorts[#shorts + 1] = { key, claim.name, text(committed), text(claim.amount), text(claim.kind == 'f' and claim.param or -1) }
  end
  for _, claim in ipairs(candidate.claims) do
    if claim.lease and not claim.lease.final and not claim.silent and claim.amount ~= 0 then
      look(claim, claim.lease.block, claim.block_at)
      look(claim, claim.lease.downgrade, claim.downgrade_at)
    end
  end
end

-- What has to be granted before one of the choices may be taken; what is refused anyway needs nothing.
local function shorts_of(choices, case)
  local shorts = {}
  for _, choice in ipairs(choices) do
    if choice.index then add_shorts(shorts, case.candidates[choice.index], case) end
  end
  if #shorts == 0 then return nil end
  local told = {}
  for index, short in ipairs(shorts) do told[index] = short end
  return told
end

local function smaller(known, next_one)
  return (not known or next_one < known) and next_one or known
end

-- { open, nano or '', tokens or '' }
local function room_of(candidate, case, state)
  local remaining = case.enforce and remaining_of(state, case) or nil
  local nano, tokens, open = remaining and remaining - state.held or nil, nil, true
  for _, claim in ipairs(candidate.claims) do
    if claim.enforced and not claim.silent and claim.block_at then
      local used, held = view(claim.name)
      local left = reach_of(claim, claim.block_at, claim.lease and claim.lease.block or 0, case) - used - held
      if claim.metric == 'u' then nano = smaller(nano, left)
      elseif claim.metric == 't' then tokens = smaller(tokens, left)
      elseif claim.amount > left then open = false end
    end
  end
  return { open and 1 or 0, nano and text(nano) or '', tokens and text(tokens) or '' }
end

local function tell_refusal(refusal)
  return { refusal.code, refusal.claim, refusal.retry and text(refusal.retry) or '', refusal.exact and 1 or 0 }
end

local function tell_views(claims)
  local told = {}
  for _, claim in ipairs(claims) do
    local used, held = view(claim.name)
    told[#told + 1] = used
    told[#told + 1] = held
  end
  return told
end

-- Reads `count` claims that begin at ARGV[at]: name, metric, kind, param, amount, downgrade_at or '', block_at or '', flags (1 rate, 2 enforced,
-- 4 silent, 8 leased, 16 final; then 32 times the percent at which it refuses, 65536 times the one at which it downgrades; 0: none). Returns them and where the next argument is.
local function read_claims(at, count)
  local claims = {}
  for index = 1, count do
    local flags = tonumber(ARGV[at + 7])
    claims[index] = {
      name = ARGV[at], metric = ARGV[at + 1], kind = ARGV[at + 2], param = tonumber(ARGV[at + 3]), amount = tonumber(ARGV[at + 4]),
      downgrade_at = tonumber(ARGV[at + 5]), block_at = tonumber(ARGV[at + 6]), rate = flags % 2 == 1, enforced = flags % 4 >= 2, silent = flags % 8 >= 4,
      index = index,
    }
    if flags % 16 >= 8 then
      claims[index].lease = { final = flags % 32 >= 16, block = math.floor(flags / 32) % 2048, downgrade = math.floor(flags / 65536) }
    end
    at = at + 8
  end
  return claims, at
end

-- All counters of these lists of claims are read at once.
local function preload_claims(lists)
  local names, seen, running = {}, {}, false
  for _, claims in ipairs(lists) do
    for _, claim in ipairs(claims) do
      if not seen[claim.name] then
        seen[claim.name] = true
        names[#names + 1] = claim.name
        if claim.lease then
          for _, percent in ipairs({ claim.lease.block, claim.lease.downgrade }) do
            if percent > 0 then names[#names + 1] = lease_key(claim.name, percent) end
          end
        end
      end
      if claim.kind == 'c' then running = true end
    end
  end
  preload(names)
  if running then drop_past_slots() end
end
