"""The operator alone: its delays, its API writes, and its memory."""

import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config
from urllib3.exceptions import ProtocolError

from control_plane import ControlPlane
from figures import Figure
from localcluster import processes
from operator_process import OperatorProcess

GROUP, VERSION, PLURAL = "diffusion.dev", "v1alpha1", "diffusionservices"
NAMESPACE = "default"
SAMPLES = 50
SETTLE_SECONDS = 120
WRITES = {"create", "update", "patch", "delete"}

Object = dict[str, Any]
Test = Callable[[Object], bool]


def service(name: str) -> Object:
    """The minimal service."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "DiffusionService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"backend": "fastapi", "model": {"source": "image:///models/demo"}},
    }


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


class Arrivals:
    """Records when each object first passed a test, with a watch that runs in a thread."""

    def __init__(
        self,
        listed: Callable[..., Any],
        *arguments: str,
        seen: Test,
        called: Callable[[Object], str] = name_of,
    ) -> None:
        self._listed = listed
        self._arguments = arguments
        self._test = seen
        self._called = called
        self._seen: dict[str, float] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        # The client's own watch builds a model of each object, which takes processor time from
        # the programs that are measured.
        events = self._listed(*self._arguments, watch=True, _preload_content=False)
        with suppress(ProtocolError):  # the API server ends before this thread
            for line in events:
                obj = json.loads(line)["object"]
                if self._test(obj):
                    with self._changed:
                        self._seen.setdefault(self._called(obj), time.monotonic())
                        self._changed.notify_all()

    def wait(self, *names: str) -> float:
        """The monotonic time at which the last of the named objects was seen."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._seen.keys() >= set(names), SETTLE_SECONDS):
                missing = set(names) - self._seen.keys()
                raise TimeoutError(f"not within {SETTLE_SECONDS} s: {sorted(missing)[:5]}")
            return max(self._seen[name] for name in names)


def there(_: Object) -> bool:
    """Accepts any object."""
    return True


def is_current(obj: Object) -> bool:
    """Whether the status counts the pod of this generation."""
    status = obj.get("status") or {}
    current = status.get("observedGeneration") == obj["metadata"]["generation"]
    return bool(current and status.get("replicas", 0) >= 1)


def audit_events(path: Path) -> Iterator[Object]:
    """The finished requests of the audit log."""
    with path.open() as lines:
        for line in lines:
            event = json.loads(line)
            if event["stage"] == "ResponseComplete":
                yield event


def operators_writes(path: Path) -> Iterator[tuple[str, str]]:
    """The operator's writes: verb with resource, and the object's name."""
    for event in audit_events(path):
        ref = event.get("objectRef") or {}
        resource = "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))
        by_python = "python" in event.get("userAgent", "").lower()
        by_operator = by_python and resource != PLURAL  # this program creates the services
        if by_operator and event["verb"] in WRITES:
            yield f"{event['verb']} {resource}", ref.get("name", "")


def writes_for(path: Path, names: set[str]) -> Counter[str]:
    """The operator's writes for those services, by verb and resource.

    An Event's name begins with the name of its object.
    """
    return Counter(
        write for write, name in operators_writes(path) if name.partition(".")[0] in names
    )


def quiet(path: Path) -> None:
    """Waits until the audit log shows no write of the operator for two seconds."""
    size = -1
    while size != (size := sum(1 for _ in operators_writes(path))):
        time.sleep(2)


class MinimalProcess(OperatorProcess):
    """The minimal operator, whose time is the floor: the API server's and the controllers'."""

    program = ("bench/peers/minimal_operator.py",)


@dataclass(frozen=True)
class Burst:
    """The seconds that a burst of services took, all created by one command."""

    creates: float
    last_deployment: float
    """Seconds after the last create returned."""
    last_status: float
    """Seconds after the last create returned."""


@dataclass(frozen=True)
class Floor:
    """The minimal operator's figures."""

    apply: float
    burst: Burst


def processor_seconds(pids: Iterable[int]) -> float:
    """The processor time that the processes have used so far."""
    spent = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(each[11]) + int(each[12]) for each in spent) / os.sysconf("SC_CLK_TCK")


class Services:
    """Creates services, and measures the operator's response."""

    def __init__(self, plane: ControlPlane) -> None:
        config.load_kube_config(plane.kubeconfig)
        self._plane = plane
        self._api = client.CustomObjectsApi()
        self._deployments = Arrivals(
            client.AppsV1Api().list_namespaced_deployment, NAMESPACE, seen=there
        )
        self._statuses = Arrivals(
            *(self._api.list_namespaced_custom_object, GROUP, VERSION, NAMESPACE, PLURAL),
            seen=is_current,
        )

    def _create(self, name: str) -> None:
        self._api.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, service(name))

    def first(self) -> None:
        """Creates a first service, so that connections are open before the measurement."""
        self._create("first")
        self._statuses.wait("first")

    def one_by_one(self, names: Sequence[str]) -> float:
        """Median seconds from a create to its Deployment.

        Each service has a current status before the next is created.
        """
        delays = []
        for name in names:
            begun = time.monotonic()
            self._create(name)
            delays.append(self._deployments.wait(name) - begun)
            self._statuses.wait(name)
        return statistics.median(delays)

    def in_one_go(self, names: Sequence[str]) -> Burst:
        """Creates many services with one `kubectl create`, as a person would."""
        listed = {"apiVersion": "v1", "kind": "List", "items": [service(name) for name in names]}
        kubectl = [self._plane.kubectl, f"--kubeconfig={self._plane.kubeconfig}"]
        begun = time.monotonic()
        subprocess.run(
            [*kubectl, "create", "-f", "-"],
            input=json.dumps(listed),
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        created = time.monotonic()
        return Burst(
            created - begun,
            self._deployments.wait(*names) - created,
            self._statuses.wait(*names) - created,
        )


ONES = [f"one-{number}" for number in range(SAMPLES)]
MANY = [f"many-{number}" for number in range(int(os.environ.get("SERVICES", "1000")))]


def measure_floor(plane: ControlPlane) -> Floor:
    """The time that the API server and its controllers take, measured on their own."""
    services = Services(plane)
    with tempfile.TemporaryDirectory() as directory:
        minimal = MinimalProcess(plane.kubeconfig, Path(directory))
        minimal.start(until="the minimal operator has started")
        try:
            services.first()
            return Floor(services.one_by_one(ONES), services.in_one_go(MANY))
        finally:
            minimal.kill()


def measure(plane: ControlPlane, floor: Floor) -> list[Figure]:
    """All figures of the operator."""
    services = Services(plane)
    with tempfile.TemporaryDirectory() as directory:
        operator = OperatorProcess(plane.kubeconfig, Path(directory))
        operator.start()
        try:
            services.first()
            quiet(plane.audit_log)
            memory_one = operator.memory_mb()

            median = services.one_by_one(ONES)
            quiet(plane.audit_log)
            writes = writes_for(plane.audit_log, set(ONES))

            control_plane = list(processes.marked(Path(plane.kubeconfig).parent))
            spent = processor_seconds(control_plane), processor_seconds([operator.pid])
            burst = services.in_one_go(MANY)
            quiet(plane.audit_log)
            spent_by_plane = processor_seconds(control_plane) - spent[0]
            spent_by_operator = processor_seconds([operator.pid]) - spent[1]
            memory_many = operator.memory_mb()

            before = sum(1 for _ in operators_writes(plane.audit_log))
            operator.stop()
            operator.start()
            quiet(plane.audit_log)
            at_restart = sum(1 for _ in operators_writes(plane.audit_log)) - before
        finally:
            operator.kill()

    print(f"writes of the operator for {SAMPLES} services:", dict(writes))
    prototype = "a 60-line kopf prototype"
    here, many = "the minimal operator here", len(MANY)
    return [
        Figure("apply → Deployment exists, p50", "operator", median * 1000, "ms", 30,
               f"{here}: {floor.apply * 1000:.0f}; {prototype}: 21-30; KServe 0.20: 42-62"),
        Figure("API writes per minimal service", "operator", writes.total() / SAMPLES,
               "writes", 5, f"{prototype}: 4; KServe 0.20: 12"),
        Figure("API writes at a restart, nothing changed", "operator", at_restart, "writes", 0),
        Figure(f"one kubectl create of {many} services", "operator", burst.creates, "s",
               against=f"{here}: {floor.burst.creates:.1f}"),
        Figure(f"last of {many} Deployments after the last create", "operator",
               burst.last_deployment, "s", 1, f"{here}: {floor.burst.last_deployment:.1f}; "
               f"{prototype}: 0.4; KServe 0.20, at 300: 10"),
        Figure(f"last of {many} true statuses after the last create", "operator",
               burst.last_status, "s", 3, f"{here}: {floor.burst.last_status:.1f}; "
               f"{prototype}: 1; KServe 0.20, at 300: 54"),
        Figure("processor time a service", "control plane", spent_by_plane / many * 1000, "ms",
               against=f"{os.cpu_count()} cores for it, the operator and kubectl"),
        Figure("processor time a service", "operator", spent_by_operator / many * 1000, "ms"),
        Figure("memory at 1 service", "operator", memory_one, "MB"),
        Figure(f"memory at {many} services", "operator", memory_many, "MB", 180,
               f"{prototype} at 1,000: 147"),
    ]  # fmt: skip
