-- What Argo CD shows of a ModelDeployment. It reads the conditions of kstatus; docs/gitops.md has the table.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is_true(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local function say(health)
  local message = status.message
  if message == nil and conditions.Ready ~= nil then
    message = conditions.Ready.message
  end
  return {status = health, message = message or "waits for the Podium operator"}
end

-- A status of an older spec would call the new one healthy for a moment, and the next sync wave would start.
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "waits for the Podium operator to see this spec"}
end
if is_true("Stalled") then
  return say("Degraded")
end
if is_true("Suspended") then
  return say("Suspended")
end
-- Before Paused: while a pause holds nothing back, pods that are missing are what matters.
if is_true("Reconciling") then
  return say("Progressing")
end
if is_true("Paused") then
  local found, pause = say("Suspended"), conditions.Paused.message
  if pause ~= nil and pause ~= found.message then
    found.message = found.message .. " " .. pause
  end
  return found
end
if is_true("Ready") then
  return say("Healthy")
end
return say("Progressing")
