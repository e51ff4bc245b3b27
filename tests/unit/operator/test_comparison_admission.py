"""The Comparisons' exclusive lock on the hardware, while the watch lags."""

from typing import Any

from diffusion_operator.comparison.reconciler import ExclusiveLock
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import key_of

Object = dict[str, Any]


def named(name: str, age: int, state: str = "", namespace: str = "shop", **metadata: str) -> Object:
    made = f"2026-01-02T03:04:{age:02}Z"
    place = {"name": name, "namespace": namespace, "creationTimestamp": made, "uid": name}
    return {"kind": "Comparison", "metadata": {**place, **metadata}, "status": {"state": state}}


def lock_of(*comparisons: Object) -> ExclusiveLock:
    index = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): [each] for each in comparisons
    }
    cache = Cache({"Comparison": index}, pods={}, jobs={}, tests={}, compared={}, revisions={})
    return ExclusiveLock(cache)


def test_the_first_comparison_holds_the_lock_before_its_status_shows_it_and_until_release() -> None:
    a, b = named("a", 0), named("b", 1)
    lock = lock_of(a, b)
    assert lock.ask(b) is None
    assert lock.ask(a) == "b"
    assert lock.ask(b) is None
    lock.release(key_of(b))
    assert lock.ask(a) is None


def test_the_oldest_comparison_that_waits_is_next() -> None:
    a, b, c = named("a", 0), named("b", 1), named("c", 2)
    lock = lock_of(a, b, c)
    assert [lock.ask(a), lock.ask(c), lock.ask(b)] == [None, "a", "a"]
    lock.release(key_of(a))
    assert lock.ask(c) == "b"
    assert lock.ask(b) is None
    assert lock.ask(c) == "b"


def test_after_a_restart_the_statuses_show_the_holder_and_the_queue() -> None:
    old, busy, new = named("old", 0, "Waiting"), named("busy", 1, "Cooling"), named("new", 2)
    lock = lock_of(old, busy, new)
    assert [lock.ask(old), lock.ask(new), lock.ask(busy)] == ["busy", "busy", None]
    assert lock_of(old, new).ask(new) == "old"


def test_two_comparisons_that_run_already_both_go_on() -> None:
    a, b = named("a", 0, "Running"), named("b", 1, "Running")
    lock = lock_of(a, b)
    assert lock.ask(a) is None
    assert lock.ask(b) is None


def test_a_comparison_that_is_being_deleted_is_waited_for_only_if_it_has_the_lock() -> None:
    new = named("new", 2)
    leaving = {"deletionTimestamp": "2026-01-02T03:05:00Z"}
    assert lock_of(named("a", 0, "Waiting", **leaving), new).ask(new) is None
    assert lock_of(named("a", 0, "Running", **leaving), new).ask(new) == "a"


def test_namespaces_do_not_wait_for_each_other() -> None:
    elsewhere, new = named("a", 0, "Running", namespace="yard"), named("new", 2)
    assert lock_of(elsewhere, new).ask(new) is None
