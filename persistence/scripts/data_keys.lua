#!lua
-- Puts something in the place of data keys: of those alone that are what they are believed to be, or of all.
--
-- KEYS  the data keys of an order
-- ARGV  "replace" or "forget"; for each: name, value before (of no account to "forget"), value after
--
-- Returns how many it has written.
local done = 0
for i = 2, #ARGV, 3 do
  if ARGV[1] == 'forget' or redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    done = done + 1
  end
end
return done
