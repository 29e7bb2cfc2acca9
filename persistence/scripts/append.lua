#!lua
-- Writes one batch of the ledger, if everything is as its writer believes; else writes nothing and says what is not.
--
-- A script that fails half-way is not rolled back: so the first part only looks, and may fail anywhere, and the second
-- part only writes, and can fail nowhere. (A server that is read-only, full or cannot reach its disk does not start a
-- script with this first line.)
--
-- KEYS  the lists that hold the logs of the entities concerned
-- ARGV  for each of KEYS: its expected length, n, n records to be added to it
--       n, then n times: command, key      reads that fail if a key to be written is of another type
--       n, then if n > 0: three hashes of outcomes, and n fields that none of them may have
--       n, then n times: key, value        values expected of strings, as "=value", or "-" where there may be none
--       to the end: n, command, arguments  writes of n words each
--
-- Returns nothing once it is written; else {indexes of KEYS, indexes of strings, {index of field, value, ...}}.
local call, argv = redis.call, ARGV
local PIECE = 1000 -- words that are put on Lua's stack at once; it holds 8 000

local at = 1
local stale = {}
for i = 1, #KEYS do
  if call('LLEN', KEYS[i]) ~= tonumber(argv[at]) then
    stale[#stale + 1] = i
  end
  at = at + 2 + argv[at + 1]
end

local probes = tonumber(argv[at])
for i = at + 1, at + 2 * probes, 2 do
  call(argv[i], argv[i + 1])
end
at = at + 2 * probes + 1

local fields = tonumber(argv[at])
local seen = {}
if fields > 0 then
  local first = at + 4
  for day = at + 1, at + 3 do
    local most = call('HLEN', argv[day]) > 0 and fields or 0
    for from = first, first + most - 1, PIECE do
      local values = call('HMGET', argv[day], unpack(argv, from, math.min(from + PIECE, first + fields) - 1))
      for i = 1, #values do
        if values[i] then
          seen[#seen + 1] = from - first + i
          seen[#seen + 1] = values[i]
        end
      end
    end
  end
  at = first + fields
else
  at = at + 1
end

local strings = tonumber(argv[at])
local moved = {}
for i = 1, strings do
  local value = call('GET', argv[at + 2 * i - 1])
  if (value and '=' .. value or '-') ~= argv[at + 2 * i] then
    moved[#moved + 1] = i
  end
end
at = at + 2 * strings + 1

if #stale > 0 or #moved > 0 or #seen > 0 then
  return { stale, moved, seen }
end

local record = 1
for i = 1, #KEYS do
  local first = record + 2
  record = first + argv[record + 1]
  for from = first, record - 1, PIECE do
    call('RPUSH', KEYS[i], unpack(argv, from, math.min(from + PIECE, record) - 1))
  end
end

local last = #argv
while at <= last do
  local stop = at + tonumber(argv[at])
  call(unpack(argv, at + 1, stop))
  at = stop + 1
end
