-- Fragment: what the tenant was granted of shared limits, the port of domain/lease.ts and memory/lease-table.ts. Needs counters.lua.
-- A lease is a field of COUNTERS named "counter@percent". Of two tellings the later version counts, and none that is older than the
-- tenant's load: a process that was stopped between a grant and its telling tells nothing new when it wakes up (F22).
local function lease_key(name, percent)
  return name .. '@' .. text(percent)
end

local function fenced_part(lease, fenced)
  return lease and NOW < fenced and lease[4] or 0
end

local function usable_of(lease, fenced)
  return lease and lease[3] - fenced_part(lease, fenced) or 0
end

local function hear_grant(key, ends, granted, version)
  local known = counter_at(key)
  local newest = known and known[5] or tonumber(redis.call('HGET', STATE, 'leases') or '0')
  if version <= newest then return end
  if not known then grown = true end
  counters[key] = { 3, ends, granted, known and known[4] or 0, version }
  changed[key] = true
end

-- By what lies unused, and by no more than at_most (nil: all of it).
local function lowered_grant(lease, committed, fenced, at_most)
  local slack = lease[3] - committed - fenced_part(lease, fenced)
  if slack <= 0 then return lease[3] end
  return lease[3] - (at_most and math.min(at_most, slack) or slack)
end
