-- Fragment: takes a hold. Needs hold.lua.
-- Returns when the sweep has to look at the tenant, or ''.
local function put_hold(state, hold_id, hold)
  redis.call('HSET', HOLDS, hold_id, pack_hold(hold))
  if hold.digest ~= '' then redis.call('HSET', CALLS, hold.digest, hold_id) end
  state.held = state.held + held_by(hold)
  if hold.recorded == 0 then state.unrecorded = state.unrecorded + hold.amount end
  for _, claim in ipairs(hold.claims) do add_held(claim, hold_id, hold.created, claim_held_by(hold, claim)) end
  if hold.state ~= 'active' then return '' end
  local bucket = end_bucket(hold.expires)
  redis.call('ZADD', ENDS, bucket, hold_id)
  return note_due(state, (bucket + 1) * END_BUCKET_MS)
end
