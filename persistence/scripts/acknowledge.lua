#!lua flags=allow-oom
-- Forgets the oldest publications of an outbox, if they are still those that were read. It frees memory, so a full
-- server takes it too.
--
-- KEYS  the outbox; the sequence number of its first entry
-- ARGV  the sequence number that the caller knows; how many to forget
--
-- Returns 1 if it is done, 0 if somebody else was first.
local count = tonumber(ARGV[2])
local waiting = redis.call('LLEN', KEYS[1])
if tonumber(redis.call('GET', KEYS[2]) or 0) ~= tonumber(ARGV[1]) or count < 0 or count > waiting then
  return 0
end
if count > 0 then
  redis.call('INCRBY', KEYS[2], count)
  redis.call('LTRIM', KEYS[1], count, -1)
end
return 1
