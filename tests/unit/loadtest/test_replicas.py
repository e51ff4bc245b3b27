"""Requests by the replica that responded, and a replica with more than its share."""

import random
from datetime import UTC, datetime

import pytest

from diffusion_loadtest.measure.client_saturation import ClientUsage
from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.report.figures import Window, timeline
from diffusion_loadtest.report.load_report import Report
from diffusion_loadtest.report.outcome import Outcome, report_of
from diffusion_loadtest.report.replicas import replica_figures, uneven_share
from diffusion_loadtest.report.validity import Observations

WINDOW = Window(0, 0.0, 60.0, 8)


def samples_of(*replicas: str | None, failure: str | None = SUCCESS) -> Samples:
    """A sample of each name, evenly over a minute."""
    samples, gap = Samples(), 60 / len(replicas)
    for n, replica in enumerate(replicas):
        end = (n + 1) * gap
        samples.record(Sample(end, 0.9 * gap, 0, failure, replica=replica))
    return samples


def shuffled(**counts: int) -> list[str]:
    names = [name for name, count in counts.items() for _ in range(count)]
    random.Random(1).shuffle(names)
    return names


def test_each_replica_has_its_share_latencies_and_failures() -> None:
    samples = Samples()
    for n in range(100):
        name, latency = ("a", 0.2) if n % 4 else ("b", 0.8)
        samples.record(
            Sample(n * 0.5 + 1, latency, 0, "HTTP500" if n == 4 else SUCCESS, replica=name)
        )
    first, second = replica_figures(samples, WINDOW)
    assert (first.name, first.requests, first.failures, first.share) == ("a", 75, 0, 0.75)
    assert (second.name, second.requests, second.failures, second.share) == ("b", 25, 1, 0.25)
    assert (first.p50, second.p50, second.p95) == (200.0, 800.0, 800.0)


def test_only_requests_of_the_window_count() -> None:
    samples = samples_of(*["ramp"] * 30, *["a"] * 30)
    (only,) = replica_figures(samples, WINDOW._replace(measured=30.5))
    assert only.name == "a"


def test_requests_without_a_name_are_unknown_and_none_at_all_are_no_replicas() -> None:
    named = {
        each.name: each.requests for each in replica_figures(samples_of("a", None, "a"), WINDOW)
    }
    assert named == {"a": 2, "unknown": 1}
    assert replica_figures(samples_of(None, None), WINDOW) == ()


@pytest.mark.parametrize(
    ("counts", "name"),
    [
        ({"a": 200, "b": 200, "c": 200}, None),
        ({"a": 240, "b": 180, "c": 180}, None),
        ({"a": 400, "b": 100, "c": 100}, "replica a got 67% of the requests instead of 33%"),
        # chance explains seven of ten
        ({"a": 7, "b": 3}, None),
        ({"a": 900}, None),
    ],
)
def test_replica_with_more_than_its_share_is_named(
    counts: dict[str, int], name: str | None
) -> None:
    assert uneven_share(samples_of(*shuffled(**counts)), WINDOW) == name


def test_equal_chances_are_seldom_called_uneven() -> None:
    called = 0
    for seed in range(200):
        chance = random.Random(seed)
        names = [chance.choice("abc") for _ in range(chance.choice((30, 100, 1000)))]
        called += uneven_share(samples_of(*names), WINDOW) is not None
    assert called <= 4


def test_replica_that_an_autoscaler_adds_or_removes_has_no_share_of_its_own() -> None:
    late = [*["a"] * 100, *shuffled(a=50, b=50)]
    assert uneven_share(samples_of(*late), WINDOW) is None
    assert uneven_share(samples_of(*reversed(late)), WINDOW) is None


def test_timeline_counts_the_replicas_of_each_interval() -> None:
    # ten samples a second, of one replica and then of two
    samples = samples_of(*["a"] * 300, *["a", "b"] * 150)
    counts = [point.replicas for point in timeline(samples, [], 60.0)]
    assert (counts[:30], counts[31:]) == ([1] * 30, [2] * 29)
    unnamed = timeline(samples_of(None, None), [], 60.0)
    assert {point.replicas for point in unnamed} == {None}


def reported(reuse: object, *replicas: str | None, about: bool = True) -> Report:
    plan = LoadPlan.model_validate(
        {
            "test": {"name": "demo", "namespace": "default", "run": "abc"},
            "target": {"url": "http://demo"},
            "users": {"stages": [{"users": 8, "durationSeconds": 60.0}], "spawnRate": 100.0},
            "connections": {"reuse": reuse},
        }
    )
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    document = {"backend": "fastapi"} if about else None
    return report_of(
        Outcome(
            plan=plan,
            samples=samples_of(*replicas),
            windows=[WINDOW],
            user_changes=[(0.0, 8)],
            probes=(),
            load_seconds=60.0,
            observations=Observations([[ClientUsage(n, 0.1, 0.0) for n in range(60)]]),
            about=document,
            about_after=document,
            started=now,
            completed=now,
            error=None,
        )
    )


def test_report_names_an_uneven_replica_and_stays_valid() -> None:
    report = reported("Always", *shuffled(a=500, b=100))
    assert {each.name for each in report.replicas} == {"a", "b"}
    assert report.valid.status
    assert report.valid.message.endswith("of the requests instead of 50%")
    assert "instead of" not in reported("Always", *shuffled(a=300, b=300)).valid.message


def test_runs_that_reuse_connections_differently_have_different_fingerprints() -> None:
    targets = [reported(reuse, "a", "b").target for reuse in ("PerRequest", 10, 60.0, "Always")]
    words = [target.fingerprint["connections"] for target in targets]
    assert words == ["PerRequest", "10s", "60s", "Always"]
    assert len({target.fingerprint_id for target in targets}) == 4


def test_unknown_target_has_no_fingerprint_id() -> None:
    target = reported(10, "a", "b", about=False).target
    assert (target.fingerprint, target.fingerprint_id) == ({"connections": "10s"}, None)
