-- For wrk: posts one body and prints what came of it as JSON. Calls belong to runs as those of agents
-- do: `at_once` runs take turns, and each is followed by another after `calls_per_run` calls.
-- Arguments: the body's file, the token, the first part of the runs' names, calls_per_run (0: no run), at_once.
local body, token, prefix, calls_per_run, at_once
local sent = 0
local built, run_of = {}, {}

function init(args)
  local file = assert(io.open(args[1], "rb"))
  body = file:read("*a")
  file:close()
  token, prefix, calls_per_run, at_once = args[2], args[3], tonumber(args[4]), tonumber(args[5])
end

local function build(run)
  local headers = { ["content-type"] = "application/json", ["authorization"] = "Bearer " .. token }
  headers["x-gateway-run"] = run
  return wrk.format("POST", nil, headers, body)
end

-- Which run the next call of an agent belongs to. The agents are out of step, so that runs begin
-- one after the other.
local function run_number(agent, turn)
  return math.floor((turn + math.floor(agent * calls_per_run / at_once)) / calls_per_run)
end

function request()
  if calls_per_run == 0 then
    built[0] = built[0] or build(nil)
    return built[0]
  end
  local agent, turn = sent % at_once, math.floor(sent / at_once)
  sent = sent + 1
  local number = run_number(agent, turn)
  if run_of[agent] ~= number then
    run_of[agent] = number
    built[agent] = build(prefix .. "-" .. agent .. "-" .. number)
  end
  return built[agent]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"calls": %d, "seconds": %.6f, "bytes": %d, "failed": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
