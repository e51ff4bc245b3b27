"""The operator alone: how soon it acts, how much it writes, how much memory it takes."""

import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from urllib3.exceptions import ProtocolError

from control_plane import ControlPlane
from figures import Figure
from operator_process import OperatorProcess

GROUP, VERSION, PLURAL = "diffusion.dev", "v1alpha1", "diffusionservices"
NAMESPACE = "default"
SAMPLES = 50
MANY = 500
SETTLE_SECONDS = 120
WRITES = {"create", "update", "patch", "delete"}

Object = dict[str, Any]


def service(name: str) -> Object:
    """The minimal service."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "DiffusionService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"backend": "fastapi", "model": {"source": "image:///models/demo"}},
    }


class Arrivals:
    """When each Deployment was first seen, by a watch that runs beside the measurement."""

    def __init__(self, apps: client.AppsV1Api) -> None:
        self._apps = apps
        self._watch = watch.Watch()
        self._seen: dict[str, float] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        events: Iterator[Any] = self._watch.stream(self._apps.list_namespaced_deployment, NAMESPACE)
        with suppress(ProtocolError):  # the API server goes before this thread does
            for event in events:
                with self._changed:
                    self._seen.setdefault(event["object"].metadata.name, time.monotonic())
                    self._changed.notify_all()

    def wait(self, name: str) -> float:
        """The monotonic time at which the Deployment was seen."""
        with self._changed:
            if not self._changed.wait_for(lambda: name in self._seen, SETTLE_SECONDS):
                raise TimeoutError(f"no Deployment {name} within {SETTLE_SECONDS} s")
            return self._seen[name]


def audit_events(path: Path) -> Iterator[Object]:
    """The finished requests of the audit log."""
    with path.open() as lines:
        for line in lines:
            event = json.loads(line)
            if event["stage"] == "ResponseComplete":
                yield event


def writes_for(path: Path, names: set[str]) -> Counter[str]:
    """The operator's writes for those services, by verb and resource."""
    found: Counter[str] = Counter()
    for event in audit_events(path):
        ref = event.get("objectRef") or {}
        resource = "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))
        by_python = "python" in event.get("userAgent", "").lower()
        ours = by_python and resource != PLURAL  # the resource itself is written by this program
        if ours and event["verb"] in WRITES and ref.get("name") in names:
            found[f"{event['verb']} {resource}"] += 1
    return found


def settled(api: client.CustomObjectsApi, count: int) -> None:
    """Wait until every service has a status of its Deployment's pod."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        found: Any = api.list_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL)
        items = found["items"]
        if sum(item.get("status", {}).get("replicas", 0) for item in items) >= count:
            return
        time.sleep(0.5)
    raise TimeoutError(f"{count} services did not settle within {SETTLE_SECONDS} s")


def quiet(path: Path) -> None:
    """Wait until the audit log shows no write for two seconds."""
    size = -1
    while size != (size := sum(event["verb"] in WRITES for event in audit_events(path))):
        time.sleep(2)


def measure(plane: ControlPlane) -> list[Figure]:
    """All figures of the operator."""
    config.load_kube_config(plane.kubeconfig)
    api, arrivals = client.CustomObjectsApi(), Arrivals(client.AppsV1Api())

    def create(name: str) -> None:
        api.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, service(name))

    with tempfile.TemporaryDirectory() as directory:
        operator = OperatorProcess(plane.kubeconfig, Path(directory))
        operator.start()
        try:
            create("first")
            arrivals.wait("first")
            settled(api, 1)
            quiet(plane.audit_log)
            memory_one = operator.memory_mb()

            delays = []
            for number in range(SAMPLES):
                begun = time.monotonic()
                create(f"one-{number}")
                delays.append(arrivals.wait(f"one-{number}") - begun)
            settled(api, 1 + SAMPLES)
            quiet(plane.audit_log)
            names = {f"one-{number}" for number in range(SAMPLES)}
            writes = writes_for(plane.audit_log, names)

            for number in range(MANY - SAMPLES - 1):
                create(f"many-{number}")
            created = time.monotonic()
            arrivals.wait(f"many-{MANY - SAMPLES - 2}")
            last = time.monotonic() - created
            settled(api, MANY)
            quiet(plane.audit_log)
            memory_many = operator.memory_mb()

            before = sum(writes_for(plane.audit_log, names).values())
            operator.stop()
            operator.start()
            quiet(plane.audit_log)
            at_restart = sum(writes_for(plane.audit_log, names).values()) - before
        finally:
            operator.kill()

    print("writes of the operator for 50 services:", dict(writes))
    prototype = "a 60-line kopf prototype"
    return [
        Figure("apply → Deployment exists, p50", "operator", statistics.median(delays) * 1000,
               "ms", 30, f"{prototype}: 21-30; KServe 0.20: 42-62"),
        Figure("API writes per minimal service", "operator", writes.total() / SAMPLES,
               "writes", 5, f"{prototype}: 4; KServe 0.20: 12"),
        Figure("API writes at a restart, nothing changed", "operator", at_restart, "writes", 0),
        Figure(f"last of {MANY} Deployments after the last create", "operator", last, "s"),
        Figure("memory at 1 service", "operator", memory_one, "MB"),
        Figure(f"memory at {MANY} services", "operator", memory_many, "MB", 180,
               f"{prototype} at 1,000: 147"),
    ]  # fmt: skip
