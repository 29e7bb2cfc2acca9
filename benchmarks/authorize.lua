-- Authorizes 1.00 on a certificate drawn at random, each request with an idempotency key of its own.
-- Arguments: API key, number of certificates, a name for this run.
local counter, thread_count = 0, 0

function setup(thread)
  thread:set("id", thread_count)
  thread_count = thread_count + 1
end

function init(args)
  api_key, certificates, run = args[1], tonumber(args[2]), args[3]
  math.randomseed(tonumber(run) + id)
  headers = {
    ["Authorization"] = "Bearer " .. api_key,
    ["Content-Type"] = "application/json",
  }
end

local body = '{"purpose":"Redemption","amount":100,"currency":"RUB"}'

function request()
  counter = counter + 1
  headers["Idempotency-Key"] = run .. "-" .. id .. "-" .. counter
  local code = string.format("GC-BENCH-%07d", math.random(0, certificates - 1))
  return wrk.format("POST", "/certificates/" .. code .. "/authorize", headers, body)
end

function done(summary, latency, requests)
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.3f, "refused": %d, "socketErrors": %d, "p50Ms": %.2f, "p99Ms": %.2f, "p999Ms": %.2f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
