#!lua flags=no-writes
-- Reads entities as they are at one moment.
--
-- KEYS  for each entity: its log, its snapshot, its attempts ("" for an entity that has none)
-- ARGV  "1" to begin at the snapshots, "0" to read all records
--
-- Returns for each entity {snapshot or nil, version of the snapshot, length of the log, attempts or nil, records}.
local call = redis.call
local loaded = {}
for i = 1, #KEYS, 3 do
  local snapshot, version = false, 0
  if ARGV[1] == '1' then
    snapshot = call('GET', KEYS[i + 1])
    version = snapshot and tonumber(string.match(snapshot, '^(%d+)|'))
    if not version then
      snapshot, version = false, 0
    end
  end
  local attempts = KEYS[i + 2] ~= '' and call('GET', KEYS[i + 2])
  loaded[#loaded + 1] = {
    snapshot, version, call('LLEN', KEYS[i]), attempts, call('LRANGE', KEYS[i], version, -1),
  }
end
return loaded
