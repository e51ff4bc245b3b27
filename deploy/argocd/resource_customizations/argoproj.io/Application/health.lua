-- An Application's own health, which Argo CD ignores by default. Without this check, the sync waves of an app of apps
-- would not wait for one another.
local health = (obj.status or {}).health or {}
return { status = health.status or "Progressing", message = health.message or "" }
