"""History: the ended runs before the current one."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.loadtest import EarlierRun
from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.api.state import RunState

_VERDICTS = {"Valid": "valid", "SLOMet": "sloMet"}


def history(previous: Mapping[str, Any], run: str, limit: int) -> tuple[EarlierRun, ...]:
    """Ended runs before ``run``, latest first, from the current status."""
    earlier = [EarlierRun.model_validate(entry) for entry in previous.get("history") or ()]
    status = ObservedLoadTest.of({"status": previous})
    if status.has_ended and status.run != run:
        earlier = [_entry(previous, status), *earlier]
    return tuple(earlier[:limit])


def _entry(previous: Mapping[str, Any], status: ObservedLoadTest) -> EarlierRun:
    """Entry of an ended run: its verdicts and the figures that they judge.

    The figures are those of the window; the runner of an older release reports the summary only.
    """
    figures = "window" if previous.get("window") else "summary"
    copied = ("run", "state", "completionTime", figures, "maxUsersWithinSLO", "maxRateWithinSLO")
    ended = status.condition("Failed" if status.state is RunState.FAILED else "Complete")
    verdicts = {field: status.condition(kind) for kind, field in _VERDICTS.items()}
    fingerprint = status.target.fingerprint
    return EarlierRun.model_validate(
        {
            **{name: previous[name] for name in copied if name in previous},
            **{field: verdict.status for field, verdict in verdicts.items() if verdict is not None},
            "reason": ended.reason if ended else "",
            "backend": status.target.backend,
            "revision": status.target.revision,
            "fingerprint": fingerprint.digest if fingerprint else "",
        }
    )
