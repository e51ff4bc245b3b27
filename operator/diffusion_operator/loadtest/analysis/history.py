"""History: the ended runs before the current one."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from diffusion_operator.api.loadtest import EarlierRun
from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.api.state import RunState

_VERDICTS = {"Valid": "valid", "SLOMet": "sloMet"}


def history(previous: Mapping[str, Any], run: str, limit: int) -> tuple[EarlierRun, ...]:
    """Ended runs before ``run``, latest first, from the current status."""
    earlier = [
        known for entry in previous.get("history") or () if (known := _readable(entry)) is not None
    ]
    status = ObservedLoadTest.of({"status": previous})
    if status.has_ended and status.run != run:
        ended = _readable(_entry(previous, status))
        earlier = [*([ended] if ended else []), *earlier]
    return tuple(earlier[:limit])


def _readable(entry: Mapping[str, Any]) -> EarlierRun | None:
    """Entry without the fields of other versions; ``None`` where it can't be read at all."""
    try:
        return EarlierRun.model_validate(entry, extra="ignore")
    except ValidationError:
        return None


def _entry(previous: Mapping[str, Any], status: ObservedLoadTest) -> Mapping[str, Any]:
    """Entry of an ended run: its verdicts and the figures that they judge.

    The figures are those of the window; the runner of an older release reports the summary only.
    """
    figures = "window" if previous.get("window") else "summary"
    copied = ("run", "state", "completionTime", figures, "maxUsersWithinSLO", "maxRateWithinSLO")
    ended = status.condition("Failed" if status.state is RunState.FAILED else "Complete")
    verdicts = {field: status.condition(kind) for kind, field in _VERDICTS.items()}
    fingerprint = status.target.fingerprint
    return {
        **{name: previous[name] for name in copied if name in previous},
        **{field: verdict.status for field, verdict in verdicts.items() if verdict is not None},
        "reason": ended.reason if ended else "",
        "backend": status.target.backend,
        "revision": status.target.revision,
        "fingerprint": fingerprint.digest if fingerprint else "",
    }
