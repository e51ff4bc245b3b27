"""Which Comparison has the hardware, while the watch is a little behind."""

from typing import Any

from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import key_of
from diffusion_operator.loadtest.admission import ExclusiveLock

Object = dict[str, Any]


def named(name: str, age: int, state: str = "", namespace: str = "shop", **metadata: str) -> Object:
    made = f"2026-01-02T03:04:{age:02}Z"
    place = {"name": name, "namespace": namespace, "creationTimestamp": made, "uid": name}
    return {"kind": "Comparison", "metadata": {**place, **metadata}, "status": {"state": state}}


def hardware(*comparisons: Object) -> ExclusiveLock:
    index = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): [each] for each in comparisons
    }
    cache = Cache({"Comparison": index}, pods={}, jobs={}, tests={}, compared={}, revisions={})
    return ExclusiveLock(cache)


def test_the_first_that_asks_has_it_before_its_status_tells_and_until_it_gives_it_back() -> None:
    a, b = named("a", 0), named("b", 1)
    one = hardware(a, b)
    assert one.ask(b) is None
    assert one.ask(a) == "b"
    assert one.ask(b) is None
    one.release(key_of(b))
    assert one.ask(a) is None


def test_the_oldest_that_waits_is_next() -> None:
    a, b, c = named("a", 0), named("b", 1), named("c", 2)
    one = hardware(a, b, c)
    assert [one.ask(a), one.ask(c), one.ask(b)] == [None, "a", "a"]
    one.release(key_of(a))
    assert one.ask(c) == "b"
    assert one.ask(b) is None
    assert one.ask(c) == "b"


def test_after_a_restart_the_status_tells_who_has_it_and_who_waits() -> None:
    old, busy, new = named("old", 0, "Waiting"), named("busy", 1, "Cooling"), named("new", 2)
    one = hardware(old, busy, new)
    assert [one.ask(old), one.ask(new), one.ask(busy)] == ["busy", "busy", None]
    assert hardware(old, new).ask(new) == "old"


def test_two_that_were_begun_before_both_go_on() -> None:
    a, b = named("a", 0, "Running"), named("b", 1, "Running")
    one = hardware(a, b)
    assert one.ask(a) is None
    assert one.ask(b) is None


def test_one_that_is_being_deleted_is_waited_for_only_where_it_has_the_hardware() -> None:
    new = named("new", 2)
    leaving = {"deletionTimestamp": "2026-01-02T03:05:00Z"}
    assert hardware(named("a", 0, "Waiting", **leaving), new).ask(new) is None
    assert hardware(named("a", 0, "Running", **leaving), new).ask(new) == "a"


def test_namespaces_do_not_wait_for_each_other() -> None:
    elsewhere, new = named("a", 0, "Running", namespace="yard"), named("new", 2)
    assert hardware(elsewhere, new).ask(new) is None
