-- Moves a tenant in the index of next ends, unless somebody has moved it since it was read.
-- KEYS  1 index
-- ARGV  1 tenant, 2 score as it was read, 3 next score, or '' for none
-- Returns  1 when it was moved or removed
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
