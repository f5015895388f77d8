-- Stands before discovery.lua and before command.lua: the revision that each command is about, as `kubectl podium` names it.
local status = obj.status or {}
local champion, candidate = status.champion, status.candidate

local function rolled_back()
  if champion == nil then
    return candidate -- the first revision has no outcome: its pods keep trying
  end
  for _, entry in ipairs(status.history or {}) do -- the newest first
    if entry.outcome == "RolledBack" then
      return entry
    end
  end
end

local about = {
  promote = candidate,
  abort = candidate or (status.previous and champion), -- while its predecessor is kept warm
  retry = rolled_back(),
  pause = candidate or champion,
  resume = candidate or champion,
  restart = champion,
}
