"""The load test's runner alone: the accuracy of its figures, and its cost of a request."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
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
        "requestsPerSecond": len(good) / _span(served),
        "failureRatio": 1 - len(good) / len(served),
    }
    summary = report["summary"]
    return [
        Figure(
            f"reported {name} against the target's own",
            subject,
            100 * abs(summary[name] / true - 1),
            "%",
            1.0,
        )
        for name, true in pairs.items()
    ]


def _span(served: Sequence[Served]) -> float:
    """Seconds from the first request to the last successful response."""
    last = max(answer.answered for answer in served if answer.status == 200)  # noqa: PLR2004  OK
    return last - min(answer.arrived for answer in served)


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
