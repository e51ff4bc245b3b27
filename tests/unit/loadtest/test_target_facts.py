from typing import Any

import pytest

from diffusion_loadtest.target.fingerprint import fingerprint, fingerprint_id
from diffusion_loadtest.target.watch import TargetWatch, describe_change, describe_restart

ABOUT: dict[str, Any] = {
    "backend": "fastapi",
    "revision": "r1",
    "source": "hf://CompVis/stable-diffusion-v1-4",
    "device": "cuda",
    "device_name": "NVIDIA L4",
    "dtype": "float16",
    "scheduler": "euler",
    "batching": {"mode": "engine", "max_size": 8},
    "generation": {"steps": 4, "guidance_scale": 7.5, "width": 512, "height": 512},
    "versions": {"torch": "2.10.0", "diffusers": "0.42.0"},
    "limits": {"max_steps": 50},
    "uptime_seconds": 12.5,
    "ready": True,
    "loras": [{"name": "sketch", "scale": 0.8}],
}


def test_fingerprint_holds_the_facts_that_figures_depend_on_and_requests_override_defaults() -> (
    None
):
    assert fingerprint(ABOUT, {"steps": 8, "width": 256, "negative_prompt": "secret"}) == {
        "backend": "fastapi",
        "revision": "r1",
        "model": "hf://CompVis/stable-diffusion-v1-4",
        "device": "cuda",
        "deviceName": "NVIDIA L4",
        "precision": "float16",
        "scheduler": "euler",
        "batching": "engine, at most 8",
        "loras": '[{"name": "sketch", "scale": 0.8}]',
        "steps": "8",
        "guidanceScale": "7.5",
        "width": "256",
        "height": "512",
        "torch": "2.10.0",
        "diffusers": "0.42.0",
    }


@pytest.mark.parametrize("about", [None, {}, {"batching": 3, "generation": [], "versions": "x"}])
def test_target_without_facts_has_no_fingerprint_of_its_own(about: Any) -> None:
    assert fingerprint(about, {}) == {}
    assert fingerprint_id({}) is None
    assert fingerprint(about, {"steps": 4}) == {"steps": "4"}


def test_fingerprint_tells_settings_apart_and_not_revisions_or_uptimes() -> None:
    first = fingerprint_id(fingerprint(ABOUT, {}))
    again = ABOUT | {"revision": "r2", "uptime_seconds": 99.0}
    assert fingerprint_id(fingerprint(again, {})) == first
    assert fingerprint_id(fingerprint(ABOUT | {"dtype": "float32"}, {})) != first


def test_process_younger_than_the_load_has_been_restarted() -> None:
    assert describe_restart({"uptime_seconds": 300.0}, 60.0) is None
    assert describe_restart({"uptime_seconds": 59.0}, 60.0) is None, (
        "the process began at about the same time as the load"
    )
    assert describe_restart({}, 60.0) is None
    assert describe_restart({"uptime_seconds": 20.0}, 60.0) == (
        "a process of the target began only 40 s after the load"
    )


def test_change_of_the_target_is_named() -> None:
    assert describe_change(ABOUT, ABOUT | {"uptime_seconds": 99.0, "ready": False}) is None
    assert describe_change(ABOUT, ABOUT | {"revision": "r2"}) == "revision r2 answers instead of r1"
    assert describe_change(ABOUT, ABOUT | {"dtype": "float32", "device": "cpu"}) == (
        "the target changed its device, precision"
    )


def test_first_change_is_kept_and_a_missing_response_is_no_change() -> None:
    documents = iter([None, ABOUT | {"revision": "r2"}, ABOUT | {"revision": "r3"}])
    watch = TargetWatch(ABOUT, lambda: next(documents))
    watch.poll(lambda: 1.0)
    assert watch.change is None
    assert watch.latest == ABOUT
    watch.poll(lambda: 2.0)
    watch.poll(lambda: 3.0)
    assert watch.latest == ABOUT | {"revision": "r3"}
    assert watch.change == "revision r2 answers instead of r1"


def polled(*documents: dict[str, Any], is_autoscaled: bool = True) -> TargetWatch:
    rest = iter(documents[1:])
    watch = TargetWatch(documents[0], lambda: next(rest), is_autoscaled=is_autoscaled)
    for _ in documents[1:]:
        watch.poll(lambda: 60.0)
    return watch


def answered_by(replica: str, uptime: float) -> dict[str, Any]:
    return ABOUT | {"replica": replica, "uptime_seconds": uptime}


def test_replica_that_an_autoscaler_adds_is_no_restart() -> None:
    documents = [answered_by("a", 90.0), answered_by("b", 5.0), answered_by("b", 10.0)]
    assert polled(*documents).restart is None
    assert polled(*documents, is_autoscaled=False).restart is not None


def test_replica_that_begins_anew_is_a_restart_also_of_an_autoscaled_target() -> None:
    documents = [answered_by("a", 90.0), answered_by("b", 5.0), answered_by("a", 3.0)]
    assert polled(*documents).restart == "replica a began anew 3 s ago"
    again = [answered_by("a", 90.0), answered_by("b", 25.0), answered_by("b", 4.0)]
    assert polled(*again).restart == "replica b began anew 4 s ago"


def test_autoscaled_target_that_names_no_replica_is_left_to_the_operator() -> None:
    documents = [ABOUT | {"uptime_seconds": 90.0}, ABOUT | {"uptime_seconds": 5.0}]
    assert polled(*documents).restart is None


def test_target_without_an_about_document_is_not_polled() -> None:
    def never() -> None:
        raise AssertionError("the target was polled")

    TargetWatch(None, never).poll(lambda: 1.0)


@pytest.mark.parametrize(
    ("safety", "fact"),
    [
        ({"checker": "Model", "action": "Refuse"}, "Model"),
        ({"checker": "hf://acme/decent", "action": "Blur"}, "hf://acme/decent"),
        ({"checker": "None", "action": "Refuse"}, None),
        ({"checker": None}, None),
        (None, None),
    ],
)
def test_checker_is_a_fact_only_where_pictures_are_checked(safety: Any, fact: str | None) -> None:
    about = {"backend": "fastapi", "safety": safety}
    assert fingerprint(about, {}).get("safety") == fact
