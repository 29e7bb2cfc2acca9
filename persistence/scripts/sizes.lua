#!lua flags=no-writes
-- How many entries each of several lists has: one command, where a pipeline of LLEN costs the caller one for each.
--
-- KEYS  the lists
--
-- Returns a number for each; 0 for one that does not exist.
local sizes = {}
for i = 1, #KEYS do
  sizes[i] = redis.call('LLEN', KEYS[i])
end
return sizes
