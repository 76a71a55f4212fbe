-- What Argo CD shows as the health of a WasmProxy: its condition Ready, of the generation that was applied last.
-- docs/gitops.md says how to install it.
local status = obj.status or {}

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the controller has not seen this generation yet"}
end

local health = "Progressing"
if ready.status == "True" then
  health = "Healthy"
elseif ready.reason == "Suspended" then
  health = "Suspended"
elseif ready.status == "False" then
  health = "Degraded"
end
return {status = health, message = ready.message}
