#!lua flags=allow-oom
-- Forgets a message that waits; one that was given up leaves a note, of which the newest are kept. It frees memory, so
-- a full server takes it too.
--
-- KEYS  the waiting messages; their times; the notes
-- ARGV  id; the note, or "" if the message was accepted; how many notes are kept
local call = redis.call
call('LLEN', KEYS[3]) -- fails here, before anything is written, if the key is of another type
if call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return
end
call('ZREM', KEYS[2], ARGV[1])
call('HDEL', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then
  call('RPUSH', KEYS[3], ARGV[2])
  call('LTRIM', KEYS[3], -tonumber(ARGV[3]), -1)
end
