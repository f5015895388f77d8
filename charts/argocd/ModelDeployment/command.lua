-- Writes the command; `verb` stands before this. The resourceVersion makes it another command than the last of its kind.
local revision = about[verb]
if revision == nil then
  error("there is no revision to " .. verb .. ": " .. (status.message or "Podium has not seen this ModelDeployment"), 0)
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["podium.dev/command"] =
  verb .. " " .. revision.revision .. " argocd-" .. obj.metadata.resourceVersion
return obj
