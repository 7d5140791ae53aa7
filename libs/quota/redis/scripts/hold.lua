-- Fragment: holds, the port of domain/hold.ts and of put, replace and close in memory/memory-quota-store.ts. Needs tenant.lua, counters.lua.
-- A hold is one packed field; its numbers are integers below 2^53, which cmsgpack keeps exactly. `facts` is never looked into.
-- recorded: 1 when a crash of the store can no longer lose it; the amounts of the others add up to the state's `unrecorded`.
local FIELDS = {
  'state', 'resolution', 'amount', 'captured', 'tokens', 'requests', 'policy', 'kind', 'created', 'expires', 'resolved', 'digest', 'body', 'facts',
  'recorded', 'claims',
}

local function pack_hold(hold)
  local values = {}
  for index, name in ipairs(FIELDS) do values[index] = hold[name] end
  return cmsgpack.pack(values)
end

local function find_hold(hold_id)
  local packed = redis.call('HGET', HOLDS, hold_id)
  if not packed then return nil end
  local values, hold = cmsgpack.unpack(packed), {}
  for index, name in ipairs(FIELDS) do hold[name] = values[index] end
  return hold
end

local function copy_hold(hold)
  local copy = {}
  for name, value in pairs(hold) do copy[name] = value end
  return copy
end

-- An absent text is ''; resolved is -1 while the hold has not ended.
local function tell_hold(hold_id, hold)
  local claims = {}
  for index, claim in ipairs(hold.claims) do claims[index] = { claim[1], claim[2], claim[3], text(claim[4]), text(claim[5]) } end
  return {
    hold_id, hold.state, hold.resolution, text(hold.amount), text(hold.captured), text(hold.tokens), text(hold.requests), hold.policy, hold.kind,
    text(hold.created), text(hold.expires), text(hold.resolved), hold.digest, hold.body, hold.facts, claims,
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

-- Null when it ended before: whoever comes second changes nothing.
local function ended_hold(hold, to, resolution)
  if not (hold.state == 'active' or (hold.state == 'unresolved' and to ~= 'unresolved')) then return nil end
  local ended = copy_hold(hold)
  ended.state, ended.resolution = to, resolution
  -- What is learned of an unresolved one later keeps the time when its call stopped running.
  if ended.resolved < 0 then ended.resolved = NOW end
  return ended
end

local function remember_resolved(digest, at)
  redis.call('ZADD', RESOLVED, 'GT', text(math.floor(at / MINUTE_MS)), string.sub(digest, 1, 16))
  redis.call('ZREMRANGEBYSCORE', RESOLVED, '-inf', '(' .. text(math.floor(NOW / MINUTE_MS) - KEPT_MINUTES - 1))
  redis.call('PEXPIRE', RESOLVED, RESOLVED_KEPT_MS)
end

-- Returns when the sweep has to look at the tenant, or ''.
local function put_hold(state, hold_id, hold)
  redis.call('HSET', HOLDS, hold_id, pack_hold(hold))
  if hold.digest ~= '' then redis.call('HSET', CALLS, hold.digest, hold_id) end
  state.held = state.held + held_by(hold)
  if hold.recorded == 0 then state.unrecorded = state.unrecorded + hold.amount end
  for _, claim in ipairs(hold.claims) do add_held(claim, hold_id, hold.created, claim_held_by(hold, claim)) end
  if hold.state ~= 'active' then return '' end
  redis.call('ZADD', ENDS, text(end_bucket(hold.expires)), hold_id)
  return note_due(state, (end_bucket(hold.expires) + 1) * END_BUCKET_MS)
end

local function close_hold(state, hold_id, hold)
  redis.call('HDEL', HOLDS, hold_id)
  if hold.recorded == 0 then state.unrecorded = state.unrecorded - hold.amount end
  if hold.digest == '' then return end
  redis.call('HDEL', CALLS, hold.digest)
  if hold.resolved >= 0 then remember_resolved(hold.digest, hold.resolved) end
end

local function replace_hold(state, hold_id, before, after)
  state.held = state.held + held_by(after) - held_by(before)
  for index, claim in ipairs(after.claims) do
    add_held(claim, hold_id, after.created, claim_held_by(after, claim) - claim_held_by(before, before.claims[index]))
  end
  if before.state == 'active' and after.state ~= 'active' then redis.call('ZREM', ENDS, hold_id) end
  if after.state == 'active' and after.expires ~= before.expires then redis.call('ZADD', ENDS, text(end_bucket(after.expires)), hold_id) end
  if not is_open(after) then return close_hold(state, hold_id, after) end
  if before.recorded == 0 then state.unrecorded = state.unrecorded - before.amount end
  if after.recorded == 0 then state.unrecorded = state.unrecorded + after.amount end
  redis.call('HSET', HOLDS, hold_id, pack_hold(after))
end
