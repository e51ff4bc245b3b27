-- Ready decides the health; the condition counts only if it is of the current generation.
local hs = { status = "Progressing", message = "Waiting for the operator" }

local function condition(kind)
  for _, each in ipairs((obj.status or {}).conditions or {}) do
    if each.type == kind and each.observedGeneration == obj.metadata.generation then
      return each
    end
  end
end

local ready = condition("Ready")
if ready == nil then
  return hs
end
hs.message = ready.reason .. ": " .. ready.message
-- A user who sets 0 replicas has suspended the service, too.
if (obj.spec or {}).suspend or ready.reason == "ScaledToZero" then
  hs.status = "Suspended"
elseif ready.status == "True" then
  hs.status = "Healthy"
elseif ready.status == "False" then
  hs.status = "Degraded"
end
return hs
