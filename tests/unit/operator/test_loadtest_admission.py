"""Admission of LoadTests to a target, however people spell it and while the watch lags."""

from typing import Any

import pytest

from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import Key
from diffusion_operator.loadtest.admission import Place, TargetAdmission, place_of, rivals

Object = dict[str, Any]
KINDS: dict[str, dict[tuple[str, str], list[Object]]] = {"DiffusionService": {}, "Service": {}}
A, B = (Key("LoadTest", "shop", name) for name in "ab")


def named(key: Key, age: int, status: Object | None = None) -> Object:
    made = f"2026-01-02T03:04:{age:02}Z"
    metadata = {"name": key.name, "namespace": key.namespace, "creationTimestamp": made}
    spec = {"targetRef": {"name": "demo"}}
    return {"kind": key.kind, "metadata": metadata, "spec": spec, "status": status or {}}


TESTS = {A: named(A, 0), B: named(B, 1)}


def admission_of(*tests: Object) -> TargetAdmission:
    cache = Cache(
        KINDS, pods={}, jobs={}, tests={("shop", "demo"): list(tests)}, compared={}, revisions={}
    )
    return TargetAdmission(cache, 1)


def test_an_admitted_test_holds_its_turn_before_its_job_is_seen_and_until_its_release() -> None:
    admission = admission_of(named(A, 0), named(B, 1))
    assert admission.ask(TESTS[A], "r1")
    assert not admission.ask(TESTS[B], "r2")
    admission.release(A)
    assert admission.ask(TESTS[B], "r2")


def test_an_end_that_the_status_shows_frees_the_turn_before_its_release() -> None:
    a = named(A, 0)
    admission = admission_of(a, named(B, 1))
    assert admission.ask(TESTS[A], "r1")
    a["status"] = {"run": "r1", "state": "Complete"}
    assert admission.ask(TESTS[B], "r2")


def test_the_end_of_an_earlier_run_frees_nothing() -> None:
    admission = admission_of(named(A, 0, {"run": "r0", "state": "Complete"}), named(B, 1))
    assert admission.ask(TESTS[A], "r1")
    assert not admission.ask(TESTS[B], "r2")


def test_a_deleted_test_blocks_no_other() -> None:
    tests = [named(A, 0), named(B, 1)]
    admission = admission_of(*tests)
    assert admission.ask(TESTS[A], "r1")
    assert not admission.ask(TESTS[B], "r2")
    gone = Cache(
        KINDS, pods={}, jobs={}, tests={("shop", "demo"): tests[1:]}, compared={}, revisions={}
    )
    admission._cache = gone
    assert admission.ask(TESTS[B], "r2")


def test_a_test_that_waited_before_a_restart_is_known_by_its_status() -> None:
    admission = admission_of(named(A, 0, {"run": "r1", "state": "Queued"}), named(B, 1))
    assert not admission.ask(TESTS[B], "r2")
    assert admission.ask(TESTS[A], "r1")


def load_test(name: str, namespace: str = "shop", url: str = "", made: int = 0) -> Object:
    target = {"url": url} if url else {"targetRef": {"name": "demo"}}
    at = f"2026-01-02T03:04:{made:02}Z"
    meta = {"name": name, "namespace": namespace, "creationTimestamp": at}
    return {"kind": "LoadTest", "metadata": meta, "spec": target}


@pytest.mark.parametrize(
    "url",
    [
        "http://demo",
        "http://DEMO:80/x",
        "http://demo.shop",
        "http://demo.shop.svc",
        "http://demo.shop.svc.",
        "http://demo.shop.svc.cluster.local/",
        "http://demo.shop.svc.corp.example:80",
        "http://pod-0.demo.shop.svc.cluster.local:8000",
        "http://user@demo.shop.svc",
    ],
)
def test_a_service_is_one_place_by_each_of_its_names(url: str) -> None:
    assert place_of(load_test("a", url=url)) == Place("shop", "demo") == place_of(load_test("b"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://demo", "http://demo.other.svc"),
        ("http://10.0.0.9:8000", "http://10.0.0.9:8001"),
        ("http://sd.example.com", "https://sd.example.com"),
        ("http://localhost:1", "http://localhost:2"),
        ("http://[::1", "http://[::2"),
    ],
)
def test_different_servers_are_different_places(one: str, other: str) -> None:
    assert place_of(load_test("a", url=one)) != place_of(load_test("a", url=other))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"])
def test_a_loopback_address_is_another_server_in_another_namespace(url: str) -> None:
    assert place_of(load_test("a", url=url)) != place_of(load_test("a", "other", url=url))


def cache_of(*tests: Object, route: str = "sd.example.com") -> Cache:
    meta = {"name": "demo", "namespace": "shop", "resourceVersion": "1"}
    service = {"kind": "DiffusionService", "metadata": meta, "spec": {"route": {"host": route}}}
    entrance = {"metadata": meta, "spec": {"clusterIPs": ["10.96.1.2", "fd00::1"]}}
    kinds: dict[str, dict[tuple[str, str], list[Object]]] = {
        "DiffusionService": {("shop", "demo"): [service]},
        "Service": {("shop", "demo"): [entrance]},
    }
    index: dict[tuple[str, str], list[Object]] = {}
    for test in tests:
        index.setdefault(place_of(test) or ("", ""), []).append(test)
    return Cache(kinds, pods={}, jobs={}, tests=index, compared={}, revisions={})


SPELLINGS = [
    "",
    "http://demo",
    "http://demo.shop.svc.cluster.local",
    "http://10.96.1.2",
    "http://[fd00:0::1]:80/x",
    "http://sd.example.com",
    "https://SD.example.com/",
]


def test_tests_of_one_server_are_rivals_however_they_spell_it_and_wherever_they_are() -> None:
    tests = [load_test(f"t{n}", url=url) for n, url in enumerate(SPELLINGS)]
    tests += [load_test("far", "other", url="http://demo.shop.svc")]
    far = load_test("near", "other", url="http://demo")
    cache = cache_of(*tests, far)
    for test in tests:
        assert {each["metadata"]["name"] for each in rivals(cache, test)} == {
            each["metadata"]["name"] for each in tests
        }
    assert rivals(cache, far) == [far]


def test_a_host_of_two_labels_may_be_a_services_outside_host() -> None:
    tests = [load_test("a"), load_test("b", url="https://a.test/")]
    assert len(rivals(cache_of(*tests, route="a.test"), tests[1])) == 2


def test_one_run_at_a_time_loads_a_server_and_the_oldest_comes_first() -> None:
    here = load_test("a", url="http://demo", made=1)
    there = load_test("a", "other", url="http://demo.shop.svc", made=1)
    late = load_test("z", made=2)
    admission = TargetAdmission(cache_of(here, there, late), 1)
    assert admission.ask(there, "r1")
    assert not admission.ask(here, "r2")
    assert not admission.ask(late, "r3")
    admission.release(Key("LoadTest", "other", "a"))
    assert not admission.ask(late, "r3")
    assert admission.ask(here, "r2")
