-- Ready says it all; it counts only if it is of the spec that is there now.
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
-- No replicas are someone's wish, too.
if (obj.spec or {}).suspend or ready.reason == "ScaledToZero" then
  hs.status = "Suspended"
elseif ready.status == "True" then
  hs.status = "Healthy"
elseif ready.status == "False" then
  hs.status = "Degraded"
end
return hs
