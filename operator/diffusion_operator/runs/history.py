"""What stays of the runs before this one."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.loadtest import EarlierRun
from diffusion_operator.runs.basis import is_final

_VERDICTS = {"Valid": "valid", "SLOMet": "sloMet"}


def history(previous: Mapping[str, Any], run: str, limit: int) -> tuple[EarlierRun, ...]:
    """The ended runs before ``run``, the latest first, given the status as it is."""
    earlier = [EarlierRun.model_validate(entry) for entry in previous.get("history") or ()]
    if is_final(previous) and previous["run"] != run:
        earlier = [_entry(previous), *earlier]
    return tuple(earlier[:limit])


def _entry(status: Mapping[str, Any]) -> EarlierRun:
    """An ended run in short."""
    said = {found["type"]: found for found in status.get("conditions") or ()}
    target = status.get("target") or {}
    ended = said.get("Failed" if status["state"] == "Failed" else "Complete") or {}
    copied = ("run", "state", "completionTime", "summary", "maxUsersWithinSLO", "maxRateWithinSLO")
    return EarlierRun.model_validate(
        {
            **{name: status[name] for name in copied if name in status},
            **{field: said[kind]["status"] for kind, field in _VERDICTS.items() if kind in said},
            "reason": ended.get("reason", ""),
            "backend": target.get("backend", ""),
            "revision": target.get("revision", ""),
            "fingerprint": (target.get("fingerprint") or {}).get("digest", ""),
        }
    )
