"""The operator where the way to the API server fails: it goes on, and ends in the right state."""

import time
from collections.abc import Callable, Iterator

import pytest

from control_plane_parts import api_server_pid, compact_etcd, kill_api_server
from faulty_proxy import Fault, FaultyProxy
from kubectl import Kubectl, KubectlError, eventually
from manifests import diffusion_service
from operator_metrics import told
from operator_process import OperatorProcess
from played import CHILDREN, children
from ports import free_port

SPACE = "survival"
WATCH_FAILED = "the watch of "
# The API server takes its time to come back, and kopf tries again after pauses that grow.
RECOVERED_WITHIN = 180.0


@pytest.fixture(scope="module")
def space(control_plane: Kubectl) -> Kubectl:
    """kubectl in the one namespace that the operator behind the proxy looks after."""
    control_plane.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    own = control_plane.in_namespace(SPACE)
    eventually(lambda: own.find("serviceaccount", "default"), what="the namespace to be set up")
    return own


@pytest.fixture
def kubectl(space: Kubectl) -> Iterator[Kubectl]:
    """kubectl in that namespace, in which nothing is left after the test."""
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
    """The proxy without a fault, and with nothing counted."""
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
    """An operator that knows the API server through the proxy only."""
    options = (f"--namespace={space.namespace}", f"--metrics-port={metrics_port}")
    process = OperatorProcess(faulty.kubeconfig, tmp_path_factory.mktemp("operator"), *options)
    process.start()
    yield process
    process.kill()
    assert "Traceback" not in process.log.read_text()


@pytest.fixture
def behind_proxy(proxy: FaultyProxy, process: OperatorProcess) -> OperatorProcess:
    """That operator, with the proxy as it should be."""
    return process


def settled(kubectl: Kubectl, name: str) -> bool:
    """Whether the service's children are there, and its status is of its present generation."""
    service = kubectl.get("dsvc", name)
    status = service.get("status") or {}
    return bool(
        children(kubectl, name)
        and status.get("observedGeneration") == service["metadata"]["generation"]
    )


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_refused_writes_are_made_again(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess, status: int
) -> None:
    proxy.fail(Fault(("POST", "PATCH"), status, times=5))
    kubectl.apply(diffusion_service())
    eventually(lambda: settled(kubectl, "demo"), within=RECOVERED_WITHIN, what="the service")
    assert proxy.refused == 5


def test_a_refused_write_is_made_again_when_the_api_server_says(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess
) -> None:
    proxy.fail(Fault(("POST", "PATCH"), 429, times=1, retry_after=5))
    begun = time.monotonic()
    # A name of its own: what another test has left of a service would wake this one's, too.
    kubectl.apply(diffusion_service("patient"))
    eventually(lambda: settled(kubectl, "patient"), within=RECOVERED_WITHIN, what="the service")
    assert proxy.refused == 1
    assert time.monotonic() - begun >= 5


def test_prometheus_is_told_of_what_failed_and_was_made_again(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess, metrics_port: int
) -> None:
    def looks(outcome: str) -> float:
        name = "diffusion_operator_reconciles_total"
        return told(metrics_port, name, kind="DiffusionService", outcome=outcome)

    def failed_watches() -> float:
        return told(metrics_port, "diffusion_operator_watch_errors_total")

    def refused_requests() -> float:
        return told(metrics_port, "diffusion_operator_api_errors_total", code="500")

    failed, done, refused = looks("failed"), looks("done"), refused_requests()
    proxy.fail(Fault(("POST", "PATCH"), 500, times=3))
    kubectl.apply(diffusion_service())
    eventually(lambda: settled(kubectl, "demo"), within=RECOVERED_WITHIN, what="the service")
    assert looks("failed") > failed
    assert looks("done") > done
    assert refused_requests() == refused + 3
    before, noticed_before = failed_watches(), behind_proxy.said(WATCH_FAILED)
    proxy.deaf = True
    proxy.cut_watches()
    # Those of the children, which are the operator's own.
    noticed = eventually(lambda: behind_proxy.said(WATCH_FAILED) - noticed_before, what="failures")
    assert failed_watches() - before >= noticed
    proxy.deaf = False
    kubectl.apply(diffusion_service(replicas=2))
    eventually(lambda: replicas(kubectl) == 2, within=RECOVERED_WITHIN, what="the change")


def test_refused_reads_are_made_again(
    kubectl: Kubectl, proxy: FaultyProxy, behind_proxy: OperatorProcess
) -> None:
    proxy.fail(Fault(("GET",), 503, times=4))
    # The name of what only some services have is asked for before it is taken.
    kubectl.apply(diffusion_service(replicas=2))
    eventually(lambda: settled(kubectl, "demo"), within=RECOVERED_WITHIN, what="the service")
    assert proxy.refused == 4


def test_what_happened_while_the_watch_was_lost_is_caught_up_with(
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


def test_a_history_that_is_gone_is_listed_anew(
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
    # The one that left is forgotten: another of its name is made as new.
    gone = lambda: kubectl.find("deployment", "leaving") is None  # noqa: E731
    eventually(gone, within=RECOVERED_WITHIN, what="the children of the deleted one to go")
    kubectl.apply(diffusion_service("leaving"))
    eventually(lambda: settled(kubectl, "leaving"), within=RECOVERED_WITHIN, what="its successor")


def test_what_went_in_a_history_that_is_gone_is_missed(
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
        lambda: children(kubectl, "demo"), within=RECOVERED_WITHIN, what="what someone deleted"
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
    """What the Deployment is asked for."""
    return int(kubectl.get("deployment", "demo")["spec"]["replicas"])


def trying(look: Callable[[], bool | None]) -> Callable[[], bool]:
    """Whether it could be done, and wasn't false, with an API server that may be away."""

    def done() -> bool:
        try:
            return look() is not False
        except KubectlError:
            return False

    return done
