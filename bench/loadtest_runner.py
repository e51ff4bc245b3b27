"""The load test's runner alone: the accuracy of its figures, and its cost of a request."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Any

from ahead import ahead
from figures import Figure, table
from known_target import KnownTarget, Served, known_target, nearest_rank

LOADTEST = Path(__file__).parents[1] / "loadtest"
SECONDS = 30.0
USERS = 30
RATE = 40.0
CORE = 0
"""The runner's only core when its cost is measured."""

CLOSED = {"users": {"stages": [{"users": USERS, "durationSeconds": SECONDS}], "spawnRate": 1000.0}}
OPEN = {
    "arrivals": {
        "stages": [{"ratePerSecond": RATE, "durationSeconds": SECONDS}],
        "distribution": "constant",
    }
}
HARD = {"users": {"stages": [{"users": 32, "durationSeconds": SECONDS}], "spawnRate": 1000.0}}

Report = dict[str, Any]


def measure() -> list[Figure]:
    """All figures; takes about two and a half minutes."""
    return [*_truth("closed loop", CLOSED), *_truth("open loop", OPEN), *_cost()]


def _truth(subject: str, load: dict[str, Any]) -> list[Figure]:
    """Differences between the report and the target's own record, in per cent."""
    with known_target(median=0.5, sigma=0.4, failure_ratio=0.05) as target:
        report = _run(target, load)
        served = target.served()
    good = [answer for answer in served if answer.status == 200]  # noqa: PLR2004  OK
    took = [(answer.answered - answer.arrived) * 1000 for answer in good]
    pairs = {
        **{f"p{percent}": nearest_rank(took, percent) for percent in (50, 95, 99)},
        "requestsPerSecond": arrival_rate(served, SECONDS),
        "failureRatio": 1 - len(good) / len(served),
    }
    summary, window = report["summary"], report["window"]
    begin = min(answer.arrived for answer in served) + window["measuredFromSeconds"]
    laws = {
        "Little's law": demand(served, load, begin),
        "a line through the responses": slope(served, begin, window["measuredSeconds"]),
    }
    return [
        *(
            Figure(
                f"reported requestsPerSecond of the window against {law}",
                subject,
                100 * abs(window["requestsPerSecond"] / true - 1),
                "%",
                2.0,
            )
            for law, true in laws.items()
        ),
        *(
            Figure(
                f"reported {name} against the target's own",
                subject,
                100 * abs(summary[name] / true - 1),
                "%",
                1.0,
            )
            for name, true in pairs.items()
        ),
    ]


def arrival_rate(served: Sequence[Served], seconds: float) -> float:
    """Successful responses in the time of the load, by its seconds: the runner's own definition."""
    end = min(answer.arrived for answer in served) + seconds
    good = [answer for answer in served if answer.status == 200]  # noqa: PLR2004  OK
    return sum(answer.answered <= end for answer in good) / seconds


def demand(served: Sequence[Served], load: Report, begin: float) -> float:
    """Successful responses per second that the load requires, without a count of responses.

    In a closed loop, by Little's law: the users divided by the mean time of a request. In the open
    loop, the arrival rate. Both are multiplied by the share of successes.
    """
    begun = [answer for answer in served if answer.arrived >= begin]
    share = sum(answer.status == 200 for answer in begun) / len(begun)  # noqa: PLR2004  OK
    if "arrivals" in load:
        return RATE * share
    return USERS / fmean(answer.answered - answer.arrived for answer in begun) * share


def slope(served: Sequence[Served], begin: float, seconds: float) -> float:
    """The slope of the line through the successful responses' numbers over their times."""
    good = sorted(answer.answered for answer in served if answer.status == 200)  # noqa: PLR2004  OK
    ends = [answered for answered in good if begin < answered <= begin + seconds]
    return linear_regression(ends, range(len(ends))).slope


def _cost() -> list[Figure]:
    """The load that one core generates at responses of 50 KB, and its report of saturation."""
    with known_target(median=0.0) as target:
        report = _run(target, HARD, core=CORE)
        # a runner that decodes every image is always slower than this target
        outrun = _run(target, HARD | {"request": {"decodeShare": 1.0}}, core=CORE)
    summary, client = report["summary"], report["client"]
    milliseconds = 1000 * client["cpu"] * summary["seconds"] / summary["requests"]
    subject = "one worker on one core"
    saturated = outrun["valid"]["reason"] == "ClientSaturated"
    return [
        Figure("requests/s of 50 KB answers", subject, summary["requestsPerSecond"], "1/s",
               goal=500, at_least=True),
        Figure("CPU a request (500 requests/s are 2 ms)", subject, milliseconds, "ms", 2.0),
        Figure("silence about being the bottleneck", subject, float(not saturated), "", 0.0),
    ]  # fmt: skip


def _run(target: KnownTarget, load: dict[str, Any], core: int | None = None) -> Report:
    plan = {
        "version": 1,
        "test": {"name": "bench", "namespace": "default", "run": "bench"},
        "target": {"url": target.url},
        "request": {"body": {"width": 128, "height": 128}, "timeoutSeconds": 30.0},
        **load,
    }
    pin = [] if core is None else ["taskset", "--cpu-list", str(core)]
    with tempfile.TemporaryDirectory() as folder:
        command = [*pin, *ahead(), sys.executable, "-m", "diffusion_loadtest"]
        subprocess.run(
            [*command, "--out", folder],
            env={
                **os.environ,
                "PYTHONPATH": str(LOADTEST),
                "DIFFUSION_LOAD_PLAN": json.dumps(plan),
            },
            stdout=subprocess.DEVNULL,
            check=True,
        )
        report: Report = json.loads((Path(folder) / "report.json").read_text())
    return report


if __name__ == "__main__":
    print(table(measure()))
