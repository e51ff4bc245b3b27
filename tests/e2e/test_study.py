"""The study on the local cluster: its design, on a stand-in of known truth and on the demo model.

`make test-full` runs it. The table of the demo model's study is the one of docs/study.md:

    .venv/bin/pytest tests/e2e/test_study.py -m full -k demo_model --capture no --timeout 3600
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from in_cluster import StandIn
from kubectl import Kubectl, condition, eventually
from manifests import API_VERSION

pytestmark = pytest.mark.full

Object = dict[str, Any]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "comparison-study.yaml"

BATCH_SECONDS = 0.1
"""The stand-in's time of a batch of any size, its four steps included."""
CAPS = (1, 2, 4, 8)
ONE_CORE: Object = {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}
OVERHEAD = 0.8
"""The least share of the stand-in's capacity that a server on one core reaches."""


def study_of(part: str) -> Object:
    """The example's Comparison with that label."""
    documents = yaml.safe_load_all(EXAMPLE.read_text())
    (study,) = (each for each in documents if each["metadata"]["labels"]["part"] == part)
    return dict(study)


def over(kubectl: Kubectl, name: str, within: float) -> Object:
    """Waits until the Comparison has ended, and returns its status."""

    def look() -> Object | None:
        status = kubectl.status("cmp", name)
        return status if status.get("state") in {"Complete", "Failed"} else None

    # Each look takes CPU time from the processes that are measured.
    return eventually(look, within=within, every=5, what=f"{name} to end")


def table(kubectl: Kubectl, name: str) -> str:
    """The report of the Comparison as Markdown, as the plugin prints it."""
    command = [sys.executable, "-m", "kubectl_diffusion", "report", f"cmp/{name}"]
    options = ["--namespace", kubectl.namespace, "--format", "markdown"]
    environment = {**os.environ, "KUBECONFIG": kubectl.kubeconfig}
    return subprocess.check_output([*command, *options], env=environment, text=True)


def assert_all_were_measured_for_the_same_time(status: Object) -> None:
    lengths = [float(run["measuredSeconds"]) for run in status["runs"] if run.get("valid")]
    assert max(lengths) - min(lengths) <= 0.05 * min(lengths), lengths


def test_a_study_of_a_stand_in_recommends_the_largest_batch(
    kubectl: Kubectl, stand_in: StandIn
) -> None:
    """The truth is the cap of a batch, divided by the time of a batch."""
    times = {"STANDIN_BATCH_SECONDS": str(BATCH_SECONDS), "STANDIN_STEP_SECONDS": "0"}
    env = [{"name": name, "value": value} for name, value in times.items()]
    spec = stand_in.service(
        podTemplate={"spec": {"containers": [{**ONE_CORE, "env": env}]}}, generation={"steps": 4}
    )["spec"]
    variants = [{"name": f"cap-{cap}", "service": {"batching": {"maxSize": cap}}} for cap in CAPS]
    load = {
        # Twice the largest cap saturates each variant; the slowest one answers 90 requests.
        "users": {"spawnRate": "16", "stages": [{"users": 16, "duration": "12s"}]},
        "warmup": {"requests": 16},
    }
    kubectl.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "Comparison",
            "metadata": {"name": "study"},
            "spec": {"service": spec, "variants": variants, "loadTest": load, "cooldown": "0s"},
        }
    )
    status = over(kubectl, "study", within=1500)
    print(table(kubectl, "study"))
    assert status["state"] == "Complete", status
    assert status["recommended"] == "cap-8", status["conclusion"]
    assert condition(kubectl.get("cmp", "study"), "Comparable")["status"] == "True"
    assert_all_were_measured_for_the_same_time(status)
    for row in status["results"]:
        capacity = int(row["variant"].removeprefix("cap-")) / BATCH_SECONDS
        speed = float(row["requestsPerSecond"]["mean"])
        assert OVERHEAD * capacity <= speed <= 1.01 * capacity, row


@pytest.mark.parametrize("part", ["capacity", "rate"])
def test_the_study_of_the_demo_model_measures_all_six_variants(kubectl: Kubectl, part: str) -> None:
    study = study_of(part)
    kubectl.apply(study)
    name = study["metadata"]["name"]
    status = over(kubectl, name, within=3400)
    print(table(kubectl, name))
    assert status["state"] == "Complete", status
    assert status["conclusion"]
    assert len(status["results"]) == 6
    assert [row["variant"] for row in status["results"] if "rank" not in row] == []
    assert_all_were_measured_for_the_same_time(status)
