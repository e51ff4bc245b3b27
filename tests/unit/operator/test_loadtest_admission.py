"""Admission of LoadTests to a target, while the watch lags."""

from typing import Any

from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import Key
from diffusion_operator.loadtest.admission import TargetAdmission

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
