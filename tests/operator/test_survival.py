"""The operator recovers from faults between it and the API server."""

import time
from collections.abc import Callable, Iterator

import pytest

from control_plane_parts import api_server_pid, compact_etcd, kill_api_server
from faulty_proxy import Fault, FaultyProxy
from kubectl import Kubectl, KubectlError, eventually
from manifests import diffusion_service
from operator_metrics import metric_value
from operator_process import OperatorProcess
from played import CHILDREN, children
from ports import free_port

SPACE = "survival"
WATCH_FAILED = "the watch of "
# The API server needs time to restart, and kopf retries after growing pauses.
RECOVERED_WITHIN = 180.0


@pytest.fixture(scope="module")
def space(control_plane: Kubectl) -> Kubectl:
    """kubectl in the one namespace of the operator behind the proxy.

    A worker that ran other tests in between finds the namespace of its first set-up.
    """
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    own = control_plane.in_namespace(SPACE)
    eventually(lambda: own.find("serviceaccount", "default"), what="the namespace to be set up")
    return own


@pytest.fixture
def kubectl(space: Kubectl) -> Iterator[Kubectl]:
    """kubectl in that namespace, which is empty after the test."""
    yield space
    space.delete_all("dsvc")
    owned = "diffusion.dev/service"
    eventually(
        lambda: not any(space.list(kind, owned) for kind in CHILDREN), what="the children to go"
    )


@pytest.fixture(scope="module")
def faulty(
    control_plane: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane.kubeconfig, tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@pytest.fixture
def proxy(faulty: FaultyProxy) -> Iterator[FaultyProxy]:
    """The proxy, without faults and with reset counts."""
    faulty.heal()
    yield faulty
    faulty.heal()


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def process(
    alone: None,
    space: Kubectl,
    faulty: FaultyProxy,
    tmp_path_factory: pytest.TempPathFactory,
    metrics_port: int,
) -> Iterator[OperatorProcess]:
    """An operator that reaches the API server through the proxy only."""
    options = (f"--namespace={space.namespace}", f"--metrics-port={metrics_port}")
    process = OperatorProcess(faulty.kubeconfig, tmp_path_factory.mktemp("operator"), *options)
    process.start()
    yield process
    process.kill()
    assert "Traceback" not in process.log.read_text()


@pytest.fixture
def behind_proxy(proxy: FaultyProxy, process: OperatorProcess) -> OperatorProcess:
    """The operator behind the proxy, which has no fault at the start."""
    return process


def settled(kubectl: Kubectl, name: str) -> bool:
    """Whether the service's children exist, and its status is of its current generation."""
    service = kubectl.get("dsvc", name)
    status = service.get("status") or {}
    return bool(
        children(kubectl, name)
        and status.get("observedGeneration") == service["metadata"]["generation"]
    )


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_refused_writes_are_retried(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess, status: int
) -> None:
    proxy.fail(Fault(("POST", "PATCH"), status, times=5))
    kubectl.apply(diffusion_service())
    eventually(lambda: settled(kubectl, "demo"), within=RECOVERED_WITHIN, what="the service")
    assert proxy.refused == 5


def test_a_refused_write_is_retried_after_the_api_servers_retry_after(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess
) -> None:
    proxy.fail(Fault(("POST", "PATCH"), 429, times=1, retry_after=5))
    begun = time.monotonic()
    # The name is unique: the remains of another test's service would wake this one, too.
    kubectl.apply(diffusion_service("patient"))
    eventually(lambda: settled(kubectl, "patient"), within=RECOVERED_WITHIN, what="the service")
    assert proxy.refused == 1
    assert time.monotonic() - begun >= 5


def test_metrics_count_failures_and_retries(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess, metrics_port: int
) -> None:
    def looks(outcome: str) -> float:
        name = "diffusion_operator_reconciles_total"
        return metric_value(metrics_port, name, kind="DiffusionService", outcome=outcome)

    def failed_watches() -> float:
        return metric_value(metrics_port, "diffusion_operator_watch_errors_total")

    def refused_requests() -> float:
        return metric_value(metrics_port, "diffusion_operator_api_errors_total", code="500")

    failed, done, refused = looks("failed"), looks("done"), refused_requests()
    proxy.fail(Fault(("POST", "PATCH"), 500, times=3))
    kubectl.apply(diffusion_service())
    eventually(lambda: settled(kubectl, "demo"), within=RECOVERED_WITHIN, what="the service")
    assert looks("failed") > failed
    assert looks("done") > done
    assert refused_requests() == refused + 3
    before, noticed_before = failed_watches(), behind_proxy.count_in_log(WATCH_FAILED)
    proxy.deaf = True
    proxy.cut_watches()
    # The log shows only the watches of children, which are the operator's own.
    noticed = eventually(
        lambda: behind_proxy.count_in_log(WATCH_FAILED) - noticed_before, what="failures"
    )
    assert failed_watches() - before >= noticed
    proxy.deaf = False
    kubectl.apply(diffusion_service(replicas=2))
    eventually(lambda: replicas(kubectl) == 2, within=RECOVERED_WITHIN, what="the change")


def test_refused_reads_are_retried(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess
) -> None:
    proxy.fail(Fault(("GET",), 503, times=4))
    # The operator reads an optional child's name before it uses the name.
    kubectl.apply(diffusion_service(replicas=2))
    eventually(lambda: settled(kubectl, "demo"), within=RECOVERED_WITHIN, what="the service")
    assert proxy.refused == 4


def test_changes_during_a_watch_gap_are_reconciled(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    eventually(lambda: settled(kubectl, "demo"), what="the service")
    proxy.deaf = True
    proxy.cut_watches()
    assert proxy.lost > 0
    kubectl.apply(diffusion_service(replicas=2))
    kubectl.apply(diffusion_service("later"))
    proxy.deaf = False
    eventually(lambda: settled(kubectl, "later"), within=RECOVERED_WITHIN, what="the later one")
    eventually(lambda: replicas(kubectl) == 2, within=RECOVERED_WITHIN, what="the change")


def test_objects_are_listed_again_after_a_compaction(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    kubectl.apply(diffusion_service("leaving"))
    eventually(lambda: settled(kubectl, "demo") and settled(kubectl, "leaving"), what="both")
    proxy.deaf = True
    proxy.cut_watches()
    kubectl.apply(diffusion_service(replicas=2))
    kubectl.apply(diffusion_service("later"))
    kubectl.delete("dsvc", "leaving")
    compact_etcd(kubectl.kubeconfig)
    proxy.deaf = False
    eventually(lambda: settled(kubectl, "later"), within=RECOVERED_WITHIN, what="the later one")
    eventually(lambda: replicas(kubectl) == 2, within=RECOVERED_WITHIN, what="the change")
    # The deleted service is forgotten: another one of its name is created as new.
    gone = lambda: kubectl.find("deployment", "leaving") is None  # noqa: E731
    eventually(gone, within=RECOVERED_WITHIN, what="the children of the deleted one to go")
    kubectl.apply(diffusion_service("leaving"))
    eventually(lambda: settled(kubectl, "leaving"), within=RECOVERED_WITHIN, what="its successor")


def test_deletions_during_a_watch_gap_without_history_are_noticed(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    kubectl.apply(diffusion_service("leaving"))
    eventually(lambda: settled(kubectl, "demo") and settled(kubectl, "leaving"), what="both")
    proxy.deaf = True
    proxy.cut_watches()
    kubectl.delete("service", "demo")
    kubectl.delete("deployment", "demo")
    kubectl.delete("dsvc", "leaving")
    gone = lambda: not any(kubectl.find(kind, "leaving") for kind in CHILDREN)  # noqa: E731
    eventually(gone, what="the children of the deleted one to go")
    proxy.forget_history()
    proxy.deaf = False
    eventually(
        lambda: children(kubectl, "demo"), within=RECOVERED_WITHIN, what="the deleted children"
    )
    kubectl.apply(diffusion_service("leaving"))
    eventually(lambda: settled(kubectl, "leaving"), within=RECOVERED_WITHIN, what="its successor")


def test_a_restart_of_the_api_server_is_outlived(
    kubectl: Kubectl, behind_proxy: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    eventually(lambda: settled(kubectl, "demo"), what="the service")
    before = kill_api_server(kubectl.kubeconfig)
    eventually(
        lambda: api_server_pid(kubectl.kubeconfig) not in {None, before},
        within=RECOVERED_WITHIN,
        what="another API server",
    )
    again = trying(lambda: kubectl.apply(diffusion_service(replicas=2)))
    eventually(again, within=RECOVERED_WITHIN, what="the API server to answer")
    eventually(trying(lambda: replicas(kubectl) == 2), within=RECOVERED_WITHIN, what="the change")


def replicas(kubectl: Kubectl) -> int:
    """The replicas in the Deployment's spec."""
    return int(kubectl.get("deployment", "demo")["spec"]["replicas"])


def trying(look: Callable[[], bool | None]) -> Callable[[], bool]:
    """A look that is truthy once ``look`` raises no ``KubectlError`` and doesn't return False."""

    def done() -> bool:
        try:
            return look() is not False
        except KubectlError:
            return False

    return done
