"""LoadTests in the operator: the delay until a Job exists, and the API writes of a whole test."""

import json
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from kubernetes import client, config

from control_plane import ControlPlane
from figures import Figure
from operator_alone import GROUP, NAMESPACE, VERSION, Arrivals, operators_writes, quiet, there
from operator_process import OperatorProcess
from played_runner import progress, report

PLURAL = "loadtests"
SAMPLES = 30
PROGRESS_WRITES = 2
TEST_LABEL, RUN_LABEL = "diffusion.dev/loadtest", "diffusion.dev/run"

Object = dict[str, Any]


def load_test(name: str) -> Object:
    """A test with its own URL, so that no test waits for another."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "LoadTest",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "url": f"http://{name}.example",
            "users": {"stages": [{"users": 2, "duration": "5s"}]},
        },
    }


class Runner:
    """Writes a runner's documents with kubectl, so that the audit log tells the writers apart."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def publish(self, name: str, key: str, document: Object) -> None:
        patch = json.dumps({"data": {key: json.dumps(document)}})
        config_map = f"configmap/{name}-loadtest"
        subprocess.run(
            [
                *(self._plane.kubectl, f"--kubeconfig={self._plane.kubeconfig}", "patch"),
                *("--namespace", NAMESPACE, "--type=merge", "-p", patch, config_map),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )


def measure(plane: ControlPlane) -> list[Figure]:
    """The figures of a test from its creation to its end."""
    config.load_kube_config(plane.kubeconfig)
    api, batch = client.CustomObjectsApi(), client.BatchV1Api()
    names = [f"test-{number}" for number in range(SAMPLES + 1)]
    jobs = Arrivals(
        batch.list_namespaced_job,
        NAMESPACE,
        seen=there,
        called=lambda job: str(job["metadata"]["labels"][TEST_LABEL]),
    )
    listed = (api.list_namespaced_custom_object, GROUP, VERSION, NAMESPACE, PLURAL)
    starting = Arrivals(*listed, seen=lambda test: _state(test) == "Starting")
    ended = Arrivals(*listed, seen=lambda test: _state(test) == "Complete")
    runner = Runner(plane)
    with tempfile.TemporaryDirectory() as directory:
        operator = OperatorProcess(plane.kubeconfig, Path(directory))
        operator.start()
        try:
            delays = []
            for name in names:
                begun = time.monotonic()
                api.create_namespaced_custom_object(
                    GROUP, VERSION, NAMESPACE, PLURAL, load_test(name)
                )
                delays.append(jobs.wait(name) - begun)
                starting.wait(name)  # so that no test is measured while another one starts
            quiet(plane.audit_log)
            for name in names:
                run = _run_of(name, batch)
                for requests in range(PROGRESS_WRITES):
                    runner.publish(name, "progress.json", progress(run, requests + 1))
                    time.sleep(1)  # longer than the operator delays small steps: each is a write
                runner.publish(name, "report.json", report(run))
            ended.wait(*names)
            quiet(plane.audit_log)
        finally:
            operator.kill()
    writes = _writes(plane.audit_log, set(names))
    print(f"writes of the operator for {len(names)} load tests:", dict(writes))
    status_writes = writes.pop("patch loadtests/status", 0)
    # A test's states before its end are progress: one write of the status counts.
    besides_progress = writes.total() / len(names) + min(status_writes / len(names), 1)
    p50 = statistics.median(delays[1:]) * 1000  # the first one opens connections
    others = "two public Locust operators: 57 and 294"
    return [
        Figure("apply → a LoadTest's Job exists, p50", "operator", p50, "ms", 40, others),
        Figure(
            "API writes per LoadTest besides its progress",
            "operator",
            besides_progress,
            "writes",
            6,
        ),
    ]


def _state(test: Object) -> str:
    return str((test.get("status") or {}).get("state"))


def _run_of(name: str, batch: client.BatchV1Api) -> str:
    jobs: Any = batch.list_namespaced_job(NAMESPACE, label_selector=f"{TEST_LABEL}={name}")
    return str(jobs.items[0].metadata.labels[RUN_LABEL])


def _writes(audit_log: Path, names: set[str]) -> Counter[str]:
    """The operator's writes for those tests, by verb and resource."""
    return Counter(
        write
        for write, name in operators_writes(audit_log)
        if name.removesuffix("-loadtest").partition("-lt-")[0] in names
        and write != "create loadtests"  # by this program
    )
