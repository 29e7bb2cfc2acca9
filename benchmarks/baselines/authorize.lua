#!lua
-- One authorization: outcome of a known key, or hold, log entry and outcome, all at once.
-- KEYS  certificate (hash), its log (list), outcome of the idempotency key (string)
-- ARGV  fingerprint, amount, currency, time in ms, expiry of the hold in ms, client, seconds an outcome is kept
-- Returns "FINGERPRINT;REFUSAL" or "FINGERPRINT;;VERSION;AMOUNT;AVAILABLE;BALANCE;EXPIRES", and whether it was known.
local call = redis.call
local known = call('GET', KEYS[3])
if known then
  return { known, 1 }
end

local function settle(outcome)
  outcome = ARGV[1] .. ';' .. outcome
  call('SET', KEYS[3], outcome, 'EX', ARGV[7])
  return { outcome, 0 }
end

local certificate = call('HMGET', KEYS[1], 'status', 'currency', 'balance', 'held', 'version', 'expires')
local amount = tonumber(ARGV[2])
if not certificate[1] then
  return settle('CertificateNotFound')
elseif certificate[1] ~= 'Active' then
  return settle('CertificateNotActive')
elseif tonumber(certificate[6]) <= tonumber(ARGV[4]) then
  return settle('CertificateExpired')
elseif certificate[2] ~= ARGV[3] then
  return settle('CurrencyMismatch')
end
local balance, held = tonumber(certificate[3]), tonumber(certificate[4])
if balance - held < amount then
  return settle('InsufficientFunds')
end

held = held + amount
local version = tonumber(certificate[5]) + 1
call('HSET', KEYS[1], 'held', string.format('%.0f', held), 'version', version)
call('RPUSH', KEYS[2], cmsgpack.pack({ version, 'Authorize', ARGV[2], ARGV[5], ARGV[6], ARGV[4] }))
return settle(string.format(';%d;%s;%.0f;%.0f;%s', version, ARGV[2], balance - held, balance, ARGV[5]))
