-- Keeps a new API key, and gives the one that it replaces an end: both or neither.
-- KEYS: keys, revoked, ends.
-- ARGV: id, key, its end or '', number of keys that the caller has seen or '',
--       id of the replaced key or '', its end as the caller has seen it or '', its end from now on.
-- Returns 1; 0 if it is no longer as the caller has seen it; -1 if the id is taken.
local id, key, ends_at, known, replaced, seen, replaced_ends_at = unpack(ARGV)

if known ~= '' and redis.call('HLEN', KEYS[1]) ~= tonumber(known) then
  return 0
end
if replaced ~= '' and (redis.call('HGET', KEYS[2], replaced) or '') ~= seen then
  return 0
end
if redis.call('HSETNX', KEYS[1], id, key) == 0 then
  return -1
end

local function ends(which, at)
  -- among the revoked ones too: there older versions look, which would take it for ever
  redis.call('HSET', KEYS[2], which, at)
  redis.call('HSET', KEYS[3], which, at)
end

if ends_at ~= '' then
  ends(id, ends_at)
end
if replaced ~= '' then
  ends(replaced, replaced_ends_at)
end
return 1
