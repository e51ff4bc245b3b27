-- A finished test is healthy if its figures are valid and meet its objectives.
local hs = { status = "Progressing", message = "Waiting for the operator" }

local function condition(kind)
  for _, each in ipairs((obj.status or {}).conditions or {}) do
    if each.type == kind and each.observedGeneration == obj.metadata.generation then
      return each
    end
  end
end

local function explain(each)
  hs.message = each.reason .. ": " .. each.message
end

local complete, failed = condition("Complete"), condition("Failed")
if failed ~= nil and failed.status == "True" then
  hs.status = "Degraded"
  explain(failed)
  return hs
end
if complete == nil or complete.status ~= "True" then
  if complete ~= nil then
    explain(complete)
  end
  if (obj.spec or {}).suspend then
    hs.status = "Suspended"
    hs.message = "spec.suspend is true"
  end
  return hs
end
for _, kind in ipairs({ "Valid", "SLOMet" }) do
  local verdict = condition(kind)
  if verdict ~= nil and verdict.status == "False" then
    hs.status = "Degraded"
    explain(verdict)
    return hs
  end
end
hs.status = "Healthy"
explain(complete)
return hs
