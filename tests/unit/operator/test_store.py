"""Stores of children, as the cache reads them."""

from typing import Any

from diffusion_operator.kube.cache import Cache, trimmed
from diffusion_operator.kube.store import ChildStores

Object = dict[str, Any]


def endpoint_slice(name: str, *ready: bool | None) -> Object:
    labels = {"kubernetes.io/service-name": "demo"}
    conditions = [{} if each is None else {"ready": each} for each in ready]
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"port": 8000}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": each} for each in conditions]
        or None,
    }


def test_the_ready_endpoints_of_a_service_are_those_of_all_its_slices() -> None:
    stores = ChildStores()
    cache = Cache(stores.by_name, pods={}, jobs={}, tests={}, compared={}, revisions={})
    store = stores.store("EndpointSlice")

    def shown(obj: Object) -> None:
        store.put(trimmed(obj, "EndpointSlice", "discovery.k8s.io/v1"))

    assert cache.ready_endpoints("shop", "demo") is None
    shown(endpoint_slice("demo-a"))
    assert cache.ready_endpoints("shop", "demo") == 0
    shown(endpoint_slice("demo-a", True, False))
    shown(endpoint_slice("demo-b", None))
    assert cache.ready_endpoints("shop", "demo") == 2
    assert cache.ready_endpoints("shop", "other") is None
