-- A finished comparison is healthy if its variants are comparable.
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

local complete, failed, comparable = condition("Complete"), condition("Failed"), condition("Comparable")
if failed ~= nil and failed.status == "True" then
  hs.status = "Degraded"
  explain(failed)
elseif complete ~= nil and complete.status == "True" then
  if comparable ~= nil and comparable.status == "False" then
    hs.status = "Degraded"
    explain(comparable)
  else
    hs.status = "Healthy"
    explain(complete)
  end
elseif (obj.spec or {}).suspend then
  hs.status = "Suspended"
  hs.message = "spec.suspend is true"
elseif complete ~= nil then
  explain(complete)
end
return hs
