"""Policies that make GKE's load balancer ask for readiness and wait for pictures."""

from typing import TYPE_CHECKING, Any, cast

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.routing.gateway_policies import GatewayPolicies
from diffusion_operator.kube.discovery import ApiDiscovery
from diffusion_operator.kube.objects import Key

if TYPE_CHECKING:
    from diffusion_operator.kube.cache import Cache
    from diffusion_operator.kube.client import Cluster

Object = dict[str, Any]
GKE = frozenset({"networking.gke.io", "networking.gke.io/v1"})
GATEWAY = {"host": "a.test", "gatewayRef": {"name": "web"}}
INGRESS = {"host": "a.test", "ingressClassName": "nginx"}


class FakeCluster:
    """A cluster with some API groups, and with GKE's policy kinds or without."""

    def __init__(self, groups: frozenset[str], *, kinds: bool) -> None:
        self._groups = groups
        self._kinds = kinds

    async def groups(self) -> frozenset[str]:
        return self._groups

    async def knows_kind_of(self, key: Key) -> bool:
        assert key.kind == "HealthCheckPolicy"
        return self._kinds


async def policies(
    owner: Object,
    route: Object,
    groups: frozenset[str] = GKE,
    *,
    kinds: bool = True,
    waiting: str = "60s",
    exist: bool = False,
) -> dict[str, Object]:
    """The spec of each policy by its kind."""
    spec = DiffusionServiceSpec.model_validate(
        {
            "backend": "fastapi",
            "model": {"source": "image:///models/demo"},
            "route": route,
            "queue": {"timeout": waiting},
        }
    )
    cluster = cast("Cluster", FakeCluster(groups, kinds=kinds))
    meta = owner["metadata"]
    key = Key("HealthCheckPolicy", meta["namespace"], meta["name"])
    cache = cast("Cache", {key: {}} if exist else {})
    made = await GatewayPolicies(cluster, cache, ApiDiscovery(cluster)).of(owner, spec)
    return {each["kind"]: each["spec"] for each in made}


async def test_on_gke_the_load_balancer_asks_for_readiness(service: Object) -> None:
    """Its own default is ``/``, which must answer 200, and answers 307 here.

    The source is cloud.google.com/kubernetes-engine/docs/how-to/configure-gateway-resources.
    """
    made = await policies(service, GATEWAY)
    assert set(made) == {"HealthCheckPolicy", "GCPBackendPolicy"}
    check = made["HealthCheckPolicy"]["default"]["config"]
    assert check["httpHealthCheck"]["requestPath"] == "/readyz"
    assert check["httpHealthCheck"]["port"] == 8000
    for each in made.values():
        assert each["targetRef"] == {"group": "", "kind": "Service", "name": "demo"}


@pytest.mark.parametrize(("waiting", "least"), [("60s", 60), ("10m", 600)])
async def test_an_answer_may_take_longer_than_a_request_waits(
    service: Object, waiting: str, least: int
) -> None:
    """Google's default is 30 seconds."""
    made = await policies(service, GATEWAY, waiting=waiting)
    assert made["GCPBackendPolicy"]["default"]["timeoutSec"] > max(least, 30)


async def test_elsewhere_and_without_a_gateway_there_is_none(service: Object) -> None:
    assert await policies(service, INGRESS) == {}
    assert await policies(service, GATEWAY, frozenset({"networking.k8s.io/v1"})) == {}
    assert await policies(service, GATEWAY, kinds=False) == {}


async def test_policies_stay_while_a_starting_api_server_omits_their_group(service: Object) -> None:
    made = await policies(service, GATEWAY, frozenset(), exist=True)
    assert set(made) == {"HealthCheckPolicy", "GCPBackendPolicy"}
