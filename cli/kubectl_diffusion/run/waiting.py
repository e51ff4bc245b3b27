"""The wait for one run: that which a value of the annotation asked for, and no other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_diffusion.run.progress import Line, Show, line_of
from kubectl_diffusion.terminal.errors import ClusterAwayError, PluginError

RUN_AT = "diffusion.dev/run-at"
POLL_SECONDS = 2.0
_FINAL = frozenset({"Complete", "Failed"})

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Clock:
    """Time in seconds, and a pause."""

    now: Callable[[], float]
    pause: Callable[[float], None]


class WaitedTooLongError(PluginError):
    """The run has not ended in time; the message says where it stands."""


def ended_run(
    look: Callable[[], Object], run_at: str, timeout: float, clock: Clock, show: Show
) -> Object:
    """The resource once the run of ``run_at`` has ended.

    A status of another run is never final, however it ends. A cluster that is away for a while
    ends no wait.

    Raises:
        WaitedTooLongError: The run has not ended within ``timeout`` seconds.
        PluginError: The run can't end: the resource is gone or suspended, or another run replaced
            this one.
    """
    deadline = clock.now() + timeout
    line = Line("", "the run has not begun")
    while True:
        try:
            resource = look()
        except ClusterAwayError as error:
            line = Line("away", str(error))
        else:
            status = resource.get("status") or {}
            if _is_final(resource, run_at):
                return resource
            _check(resource, run_at)
            line = line_of(status, resource["metadata"]["name"])
        show(line)
        left = deadline - clock.now()
        if left <= 0:
            raise WaitedTooLongError(f"no verdict within {timeout:g} s: {line.text}")
        clock.pause(min(POLL_SECONDS, left))


def _is_final(resource: Object, run_at: str) -> bool:
    status = resource.get("status") or {}
    if status.get("state") not in _FINAL:
        return False
    # A spec that is invalid begins no run, so that its status names none.
    no_run = not status.get("run") and status.get("observedGeneration", 0) >= _generation(resource)
    return status.get("runAt") == run_at or no_run


def _generation(resource: Object) -> int:
    return int(resource["metadata"].get("generation", 0))


def _check(resource: Object, run_at: str) -> None:
    """Raises ``PluginError`` where the run can't end."""
    name = resource["metadata"]["name"]
    annotation = (resource["metadata"].get("annotations") or {}).get(RUN_AT)
    if annotation != run_at:
        raise PluginError(
            f"another run of {name!r} was asked for meanwhile ({annotation or 'no value'}), "
            "so that this one has no verdict: let one pipeline at a time run it"
        )
    if resource["spec"].get("suspend"):
        raise PluginError(f"{name!r} is suspended, and no run begins: set spec.suspend to false")
