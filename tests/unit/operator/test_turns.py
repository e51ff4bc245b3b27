"""TargetAdmission at a target, while the watch is a little behind."""

from typing import Any

from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import Key
from diffusion_operator.loadtest.admission import TargetAdmission

Object = dict[str, Any]
A, B = (Key("LoadTest", "shop", name) for name in "ab")


def named(key: Key, age: int, status: Object | None = None) -> Object:
    made = f"2026-01-02T03:04:{age:02}Z"
    metadata = {"name": key.name, "namespace": key.namespace, "creationTimestamp": made}
    return {"kind": key.kind, "metadata": metadata, "status": status or {}}


def turns(*tests: Object) -> TargetAdmission:
    cache = Cache(
        {}, pods={}, jobs={}, tests={("shop", "demo"): list(tests)}, compared={}, revisions={}
    )
    return TargetAdmission(cache, 1)


def test_a_turn_is_one_before_its_job_is_seen_and_until_it_is_given_back() -> None:
    one = turns(named(A, 0), named(B, 1))
    assert one.ask(A, "demo", "r1")
    assert not one.ask(B, "demo", "r2")
    one.release(A)
    assert one.ask(B, "demo", "r2")


def test_an_end_that_is_told_frees_the_turn_though_it_is_not_given_back_yet() -> None:
    a = named(A, 0)
    one = turns(a, named(B, 1))
    assert one.ask(A, "demo", "r1")
    a["status"] = {"run": "r1", "state": "Complete"}
    assert one.ask(B, "demo", "r2")


def test_the_end_of_an_earlier_run_frees_nothing() -> None:
    one = turns(named(A, 0, {"run": "r0", "state": "Complete"}), named(B, 1))
    assert one.ask(A, "demo", "r1")
    assert not one.ask(B, "demo", "r2")


def test_one_that_is_deleted_holds_nothing_back() -> None:
    tests = [named(A, 0), named(B, 1)]
    one = turns(*tests)
    assert one.ask(A, "demo", "r1")
    assert not one.ask(B, "demo", "r2")
    gone = Cache(
        {}, pods={}, jobs={}, tests={("shop", "demo"): tests[1:]}, compared={}, revisions={}
    )
    one._cache = gone
    assert one.ask(B, "demo", "r2")


def test_who_waited_before_a_restart_is_known_by_its_status() -> None:
    one = turns(named(A, 0, {"run": "r1", "state": "Queued"}), named(B, 1))
    assert not one.ask(B, "demo", "r2")
    assert one.ask(A, "demo", "r1")
