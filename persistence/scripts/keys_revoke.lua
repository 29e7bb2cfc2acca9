-- Revokes an API key; the first time counts.
-- KEYS: keys, revoked, ends. ARGV: id, time.
-- Returns 1; 0 if there is no such key.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then
  -- its end was only planned: from now on it is refused whatever a clock says
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  redis.call('HDEL', KEYS[3], ARGV[1])
else
  redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2])
end
return 1
