#!lua
-- Puts a message off, if it still waits.
--
-- KEYS  the waiting messages; their times
-- ARGV  id; the message with its tries counted; when to try again
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
