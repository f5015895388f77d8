-- Offers the actions that Podium would accept by what status says; Podium refuses others with a sentence in status.lastCommand.
local spec = obj.spec or {}
local suspended = spec.suspend == true

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.status == "True" then
    conditions[condition.type] = condition
  end
end
local pause = conditions.Paused and conditions.Paused.reason
local held = pause == "SpecPaused" or pause == "PausedByCommand"

-- Of a spec that cannot be read Podium does nothing but say so; what has just been edited may be another spec's business.
local unreadable = conditions.Stalled ~= nil and conditions.Stalled.reason == "InvalidSpec"
local current = status.observedGeneration == obj.metadata.generation

local promotable = candidate ~= nil and champion ~= nil and not held
local strategy = (status.rollout or {}).strategy
if strategy == "RollingUpdate" then
  promotable = false -- it promotes itself
elseif strategy == "BlueGreen" and promotable then
  promotable = (candidate.available or 0) >= (candidate.desired or 0)
end

local rolledBack = status.phase == "RolledBack" or (champion == nil and status.phase == "Failed")
local accepted = {
  promote = promotable,
  abort = champion ~= nil and about.abort ~= nil,
  retry = current and rolledBack and about.retry ~= nil,
  pause = about.pause ~= nil and not held,
  resume = pause == "PausedByCommand" or pause == "WaitingForResume" or pause == "SampleRatio",
  restart = current and status.phase == "Healthy" and champion ~= nil and candidate == nil and conditions.Stalled == nil,
}

local shown = {
  promote = "Promote the candidate",
  abort = "Abort: all traffic to the version before",
  retry = "Retry the version that failed",
  pause = "Pause the rollout",
  resume = "Resume the rollout",
  restart = "Restart: new pods of the same version",
}
local icons = {promote = "check", abort = "times", retry = "redo", pause = "pause", resume = "play", restart = "sync"}

local actions = {}
for verb, title in pairs(shown) do
  actions[verb] = {
    displayName = title,
    iconClass = "fa fa-fw fa-" .. icons[verb],
    disabled = suspended or unreadable or not accepted[verb],
  }
end
actions.suspend = {displayName = "Suspend: all pods away", iconClass = "fa fa-fw fa-moon", disabled = suspended}
actions.unsuspend = {displayName = "Unsuspend: pods come back", iconClass = "fa fa-fw fa-sun", disabled = not suspended}
return actions
