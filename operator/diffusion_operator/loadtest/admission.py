"""Admission of LoadTests to their targets: one place for all spellings of the same server."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.kube.admission import Admission
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import ROLE_LABEL, RUN_LABEL, Key, Object, key_of, labels_of
from diffusion_operator.loadtest.specs.job import RUNNER, is_over

_PORTS = {"http": 80, "https": 443}
# Labels before "svc": NAME.NAMESPACE.svc, and POD.NAME.NAMESPACE.svc behind a headless Service.
_BEFORE_SVC = (2, 3)


class TargetAdmission(Admission):
    """Admission of LoadTests to their target, up to a limit."""

    def __init__(self, cache: Cache, limit: int) -> None:
        super().__init__(limit)
        self._cache = cache

    def ask(self, test: Object, run: str) -> bool:
        """Whether that run may begin now; if so, it is admitted."""
        tests = {key_of(each): each for each in rivals(self._cache, test)}
        return not self.admit(key_of(test), run, tests)

    def holds(self, key: Key, obj: Object) -> bool:
        """Whether the test was admitted and has no recorded end, or one of its Jobs makes load."""
        status = ObservedLoadTest.of(obj)
        ended = status.has_ended and status.run == self._admitted.get(key)
        jobs = self._cache.jobs(key.namespace, key.name)
        return (key in self._admitted and not ended) or occupies(obj, jobs)


def occupies(test: Mapping[str, Any], jobs: Iterable[Object]) -> bool:
    """Whether a Job of the test makes load, or will soon."""
    status = ObservedLoadTest.of(test)
    return any(
        labels_of(job).get(ROLE_LABEL) == RUNNER
        and not is_over(job)
        and not job["metadata"].get("deletionTimestamp")
        and not (status.has_ended and labels_of(job).get(RUN_LABEL) == status.run)
        for job in jobs
    )


class Place(NamedTuple):
    """Place of a server: a Service of a namespace, or a host outside of all namespaces."""

    namespace: str
    name: str
    """Name of the Service, or HOST:PORT."""


def place_of(test: Mapping[str, Any]) -> Place | None:
    """Place of the test's target by its spec alone; ``None`` where it has no target."""
    spec, namespace = test["spec"], str(test["metadata"]["namespace"])
    name = (spec.get("targetRef") or {}).get("name")
    if name:
        return Place(namespace, str(name))
    url = spec.get("url")
    return _place_of_url(str(url), namespace) if url else None


def _place_of_url(url: str, namespace: str) -> Place:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:  # no valid URL, so that each text is a place of its own
        return Place(namespace, url)
    return _place_of_host(host, port, namespace)


def _place_of_host(host: str, port: int, namespace: str) -> Place:
    """Place of a host as pods of the namespace resolve it.

    A host of two labels is a Service of another namespace, as in a cluster's search path.
    """
    host = host.rstrip(".").lower()
    labels = host.split(".")
    address = _address(host)
    if labels[-1] == "localhost" or (address is not None and address.is_loopback):
        return Place(namespace, f"{host}:{port}")  # the runner's own pod
    if address is not None:
        return Place("", f"{address}:{port}")
    if len(labels) == 1:
        return Place(namespace, host)
    if len(labels) == 2:  # noqa: PLR2004 - NAME.NAMESPACE
        return Place(labels[1], labels[0])
    for count in _BEFORE_SVC:
        if labels[count : count + 1] == ["svc"]:
            return Place(labels[count - 1], labels[count - 2])
    return Place("", f"{host}:{port}")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def rivals(cache: Cache, test: Mapping[str, Any]) -> list[Object]:
    """LoadTests of the test's target, itself included, in all watched namespaces."""
    place = place_of(test)
    if place is None:
        return []
    places = _spelled(cache, place, str(test["metadata"]["namespace"]))
    return list({key_of(each): each for at in places for each in cache.tests(*at)}.values())


def _spelled(cache: Cache, place: Place, namespace: str) -> set[Place]:
    """Places that lead to the same server as this one, itself included."""
    service = cache.get(Key("DiffusionService", *place))
    if service is not None:
        return _places_of(cache, service)
    if place.namespace == namespace:
        return {place}
    everywhere = (_places_of(cache, each) for each in cache.all("DiffusionService"))
    return next((places for places in everywhere if place in places), {place})


def _places_of(cache: Cache, service: Object) -> set[Place]:
    """Places of a DiffusionService: its name, its Service's addresses, its outside host."""
    key = key_of(service)
    places = {Place(key.namespace, key.name)}
    entrance = cache.get(Key("Service", key.namespace, key.name)) or {}
    for address in entrance.get("spec", {}).get("clusterIPs") or ():
        if _address(address) is not None:  # a headless Service has the address None
            places.add(_place_of_host(address, _PORTS["http"], key.namespace))
    host = (service["spec"].get("route") or {}).get("host")
    if host:
        places |= {_place_of_host(host, port, key.namespace) for port in _PORTS.values()}
    return places
