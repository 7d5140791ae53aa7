-- Fragment: changes and ends a hold. Needs hold.lua.
local function copy_hold(hold)
  return {
    state = hold.state, resolution = hold.resolution, amount = hold.amount, captured = hold.captured, tokens = hold.tokens, requests = hold.requests,
    policy = hold.policy, kind = hold.kind, created = hold.created, expires = hold.expires, resolved = hold.resolved, digest = hold.digest,
    body = hold.body, facts = hold.facts, recorded = hold.recorded, claims = hold.claims,
  }
end

local function can_end(hold, to)
  return hold.state == 'active' or (hold.state == 'unresolved' and to ~= 'unresolved')
end

-- Of a hold that can end so. What is learned of an unresolved one later keeps the time when its call stopped running.
local function set_ended(hold, to, resolution)
  hold.state, hold.resolution = to, resolution
  if hold.resolved < 0 then hold.resolved = NOW end
end

-- Null when it ended before: whoever comes second changes nothing.
local function ended_hold(hold, to, resolution)
  if not can_end(hold, to) then return nil end
  local ended = copy_hold(hold)
  set_ended(ended, to, resolution)
  return ended
end

-- What is too old is dropped once a minute: who looks compares minutes anyway.
local function remember_resolved(state, digest, at)
  redis.call('ZADD', RESOLVED, 'GT', math.floor(at / MINUTE_MS), string.sub(digest, 1, 16))
  local minute = math.floor(NOW / MINUTE_MS)
  if state.swept == minute then return end
  redis.call('ZREMRANGEBYSCORE', RESOLVED, '-inf', '(' .. text(minute - KEPT_MINUTES - 1))
  if redis.call('PEXPIRE', RESOLVED, RESOLVED_KEPT_MS) == 1 then state.swept = minute end
end

local function close_hold(state, hold_id, hold)
  redis.call('HDEL', HOLDS, hold_id)
  if hold.recorded == 0 then state.unrecorded = state.unrecorded - hold.amount end
  if hold.digest == '' then return end
  redis.call('HDEL', CALLS, hold.digest)
  if hold.resolved >= 0 then remember_resolved(state, hold.digest, hold.resolved) end
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
