"""Reports of closed loops, from samples whose truth is known."""

from datetime import UTC, datetime

from diffusion_loadtest.measure.samples import Sample, Samples
from diffusion_loadtest.plan.load_plan import LoadPlan, Stage
from diffusion_loadtest.plan.schedule import user_changes
from diffusion_loadtest.report.figures import Window
from diffusion_loadtest.report.load_report import Report, RunError
from diffusion_loadtest.report.outcome import Outcome, report_of
from diffusion_loadtest.report.validity import Observations

Stages = list[tuple[int, float]]


def report(
    stages: Stages,
    samples: list[Sample],
    *,
    spawn_rate: float = 100.0,
    slo: dict[str, float] | None = None,
    lengthened: float = 0.0,
    error: RunError | None = None,
) -> Report:
    """The report of a closed loop whose last stage `minRequests` lengthened by so many seconds."""
    plan = {
        "version": 1,
        "test": {"name": "demo", "namespace": "default", "run": "abc"},
        "target": {"url": "http://demo"},
        "users": {
            "stages": [{"users": users, "durationSeconds": seconds} for users, seconds in stages],
            "spawnRate": spawn_rate,
        },
        "slo": slo or {"p95Seconds": 1.0},
    }
    recorded = Samples()
    for sample in sorted(samples, key=lambda sample: sample.ended):
        recorded.record(sample)
    windows, begin = [], 0.0
    for number, (users, seconds) in enumerate(stages):
        windows.append(Window(number, begin, begin + seconds, users))
        begin += seconds
    windows[-1] = windows[-1]._replace(end=begin + lengthened)
    changes = user_changes(
        [Stage(users=users, duration_seconds=seconds) for users, seconds in stages], spawn_rate
    )
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return report_of(
        Outcome(
            plan=LoadPlan.model_validate(plan),
            samples=recorded,
            windows=windows,
            user_changes=[(change.at, change.users) for change in changes],
            probes=(),
            load_seconds=begin + lengthened,
            observations=Observations(client_usage=()),
            about=None,
            about_after=None,
            started=now,
            completed=now,
            error=error,
        )
    )
