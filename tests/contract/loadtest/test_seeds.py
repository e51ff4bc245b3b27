"""Arrivals of one seed: equal for a fast and a slow target."""

from statistics import median
from typing import Any


def test_two_targets_get_the_same_requests_at_the_same_times(serve: Any, runner: Any) -> None:
    """The slow target has many requests in flight at once, the fast one hardly any."""
    arrived, prompts = [], []
    for run, delay in (("one", 0.0), ("two", 0.4)):
        target = serve(lambda _, delay=delay: (delay, "ok"))
        runner.report(
            target.plan(
                [],
                test={"name": "contract", "namespace": "default", "run": run},
                users=None,
                arrivals={"stages": [{"ratePerSecond": 40.0, "durationSeconds": 2.0}]},
                randomSeed="study/1",
            )
        )
        first = target.served[0].arrived
        arrived.append([each.arrived - first for each in target.served])
        prompts.append(sorted(each.prompt for each in target.served))
    assert len(arrived[0]) > 40
    assert prompts[0] == prompts[1]
    assert len(arrived[0]) == len(arrived[1])
    apart = [abs(one - other) for one, other in zip(*arrived, strict=True)]
    # arrivals of two seeds are some 100 ms apart; the median tolerates a late client
    assert median(apart) < 0.02
