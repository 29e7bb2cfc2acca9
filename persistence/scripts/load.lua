#!lua flags=no-writes
-- Reads entities as they are at one moment.
--
-- KEYS  for each entity: its log, its snapshot, its attempts (for an entity that has none its log again: a user may be
--       allowed no other keys), its register
-- ARGV  "1" to begin at the snapshots, "0" to read all records; then the entities
--
-- Returns for each entity {snapshot or nil, version of the snapshot, length of the log, registered version or nil,
-- attempts or nil, records}. A snapshot that does not begin with a version comes with version 0.
local call = redis.call
local loaded = {}
for i = 1, #KEYS, 4 do
  local snapshot, version = false, 0
  if ARGV[1] == '1' then
    snapshot = call('GET', KEYS[i + 1])
    local digits = snapshot and string.match(snapshot, '^(%d+)|')
    version = digits and #digits < 16 and tonumber(digits) or 0
  end
  local attempts = KEYS[i + 2] ~= KEYS[i] and call('GET', KEYS[i + 2])
  loaded[#loaded + 1] = {
    snapshot, version, call('LLEN', KEYS[i]), call('HGET', KEYS[i + 3], ARGV[(i + 3) / 4 + 1]), attempts,
    call('LRANGE', KEYS[i], version, -1),
  }
end
return loaded
