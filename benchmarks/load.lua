-- What wrk asks, each request with an idempotency key of its own. Arguments: what, API key, number of certificates, run.
-- authorize  1.00 on a certificate drawn at random
-- pairs      the same, and for each authorization that was answered the capture of all of it
local thread_count, threads = 0, {}

function setup(thread)
  thread:set("id", thread_count)
  thread_count = thread_count + 1
  threads[thread_count] = thread
end

local body = '{"purpose":"Redemption","amount":100,"currency":"RUB","ttlSeconds":86400}'
local counter, waiting, first, last = 0, {}, 1, 0
captured = 0

local function ask(path, content)
  counter = counter + 1
  headers["Idempotency-Key"] = prefix .. counter
  return wrk.format("POST", path, headers, content)
end

local function authorize()
  return ask(string.format("/certificates/GC-BENCH-%07d/authorize", math.random(0, certificates - 1)), body)
end

local function note(status, _, answer)
  if status ~= 201 then
    return
  end
  if string.find(answer, '"Authorized"', 1, true) then
    last = last + 1
    waiting[last] = answer
  else
    captured = captured + 1
  end
end

local function pair()
  if first > last then
    return authorize()
  end
  local answer = waiting[first]
  waiting[first] = nil
  first = first + 1
  local id = string.match(answer, '"authorizationId":"([^"]+)"')
  local code = string.match(answer, '"certificateCode":"([^"]+)"')
  return ask("/certificates/" .. code .. "/capture", '{"authorizationId":"' .. id .. '"}')
end

function init(args)
  local what, key = args[1], args[2]
  certificates, prefix = tonumber(args[3]), args[4] .. "-" .. id .. "-"
  math.randomseed(tonumber(args[4]) % 2147483647 + id)
  headers = { ["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json" }
  if what == "pairs" then
    request, response = pair, note  -- to look at responses costs wrk time: only where it has to
  else
    request = authorize
  end
end

function done(summary, latency)
  local captures = 0
  for _, thread in ipairs(threads) do
    captures = captures + thread:get("captured")
  end
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "refused": %d, "lost": %d, "captures": %d, '
      .. '"p50Ms": %.3f, "p99Ms": %.3f, "p999Ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout, captures,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
