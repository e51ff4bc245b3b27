"""The measured time of each stage: after its ramp and its settling. Pure."""

from collections.abc import Sequence

from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.plan.schedule import settle_seconds
from diffusion_loadtest.report.figures import UsersAt, Window, most_users


def measured_windows(
    plan: LoadPlan, windows: Sequence[Window], users: Sequence[UsersAt]
) -> list[Window]:
    """The windows of the stages that began, with the time that is measured in each.

    `users` is the number of users over time; in the open loop, of requests in flight. The measured
    time begins by the plan alone, so its begin is equal for all targets.
    """
    if plan.users is not None:
        lengths = [stage.duration_seconds for stage in plan.users.stages]
    elif plan.arrivals is not None:
        lengths = [stage.duration_seconds for stage in plan.arrivals.stages]
    else:
        return [_with_users(window, users) for window in windows]
    return [
        _measured(_with_users(window, users), planned, users)
        for window, planned in zip(windows, lengths, strict=False)
    ]


def _with_users(window: Window, users: Sequence[UsersAt]) -> Window:
    """The window with its most users; in the open loop, with the most requests in flight."""
    reached = most_users(users, window)
    return window._replace(reached=reached, users=window.users if window.rate is None else reached)


def _measured(window: Window, planned: float, users: Sequence[UsersAt]) -> Window:
    """The window without its ramp and settling; all of it if it ended before they did."""
    ramped = window.begin if window.rate is not None else _ramp_end(window, users)
    if ramped is not None:
        measured = ramped + settle_seconds(window.begin + planned - ramped)
        if measured < window.end:
            return window._replace(measured=measured)
    return window._replace(is_settled=False)


def _ramp_end(window: Window, users: Sequence[UsersAt]) -> float | None:
    """The moment from which the stage has its users; None if it never had them."""
    before = [count for at, count in users if at <= window.begin]
    if before and before[-1] == window.users:
        return window.begin
    ramp = ((at, count) for at, count in users if window.begin < at < window.end)
    return next((at for at, count in ramp if count == window.users), None)


def users_missing(window: Window) -> str | None:
    """Explains why the window lacks its users; None if it had them in its measured time."""
    if window.is_settled:
        return None
    if window.rate is not None:
        return f"stage {window.stage + 1} ended before its load had settled"
    if window.reached == window.users:
        return f"stage {window.stage + 1} ended before its {window.users} users had settled"
    return (
        f"stage {window.stage + 1} names {window.users} users and had {window.reached} at most: "
        "raise spawnRate, or let the stage last longer"
    )
