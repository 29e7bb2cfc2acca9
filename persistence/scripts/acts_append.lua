-- Appends an entry to the stream of administrative acts, if it ends where the caller has seen it end.
-- KEYS: the entries, the end.
-- ARGV: the end as the caller has seen it or '', the entry, the end from now on.
-- Returns 1; 0 if somebody else has appended, and nothing was done.
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then
  return 0
end
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3])
return 1
