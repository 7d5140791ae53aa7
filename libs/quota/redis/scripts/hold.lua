-- Fragment: holds, the port of domain/hold.ts; hold-put.lua and hold-end.lua are that of put, replace and close in memory/memory-quota-store.ts,
-- apart because every call makes the functions anew that its script has. Needs tenant.lua, counters.lua.
-- A hold is one packed field; its numbers are integers below 2^53, which cmsgpack keeps exactly. `facts` is never looked into.
-- recorded: 1 when a crash of the store can no longer lose it; the amounts of the others add up to the state's `unrecorded`.
local function pack_hold(hold)
  return cmsgpack.pack({
    hold.state, hold.resolution, hold.amount, hold.captured, hold.tokens, hold.requests, hold.policy, hold.kind, hold.created, hold.expires,
    hold.resolved, hold.digest, hold.body, hold.facts, hold.recorded, hold.claims,
  })
end

local function find_hold(hold_id)
  local packed = redis.call('HGET', HOLDS, hold_id)
  if not packed then return nil end
  local value = cmsgpack.unpack(packed)
  return {
    state = value[1], resolution = value[2], amount = value[3], captured = value[4], tokens = value[5], requests = value[6], policy = value[7],
    kind = value[8], created = value[9], expires = value[10], resolved = value[11], digest = value[12], body = value[13], facts = value[14],
    recorded = value[15], claims = value[16],
  }
end

-- An absent text is ''; resolved is -1 while the hold has not ended.
local function tell_hold(hold_id, hold)
  return {
    hold_id, hold.state, hold.resolution, hold.amount, hold.captured, hold.tokens, hold.requests, hold.policy, hold.kind, hold.created, hold.expires,
    hold.resolved, hold.digest, hold.body, hold.facts, hold.claims,
  }
end

local function is_uncharged(hold)
  return hold.state == 'unresolved' and hold.policy ~= 'release' and hold.resolution == 'expired'
end

local function is_open(hold)
  return hold.state == 'active' or is_uncharged(hold)
end

local function left_of(amount, taken)
  return taken >= amount and 0 or amount - taken
end

local function held_by(hold)
  return is_open(hold) and left_of(hold.amount, hold.captured) or 0
end

-- claim: { counter, metric, kind of window, its parameter, amount }
local function claim_held_by(hold, claim)
  if claim[2] == 'c' then return hold.state == 'active' and 1 or 0 end
  if not is_open(hold) then return 0 end
  local taken = claim[2] == 'u' and hold.captured or claim[2] == 't' and hold.tokens or hold.requests
  return left_of(claim[5], taken)
end
