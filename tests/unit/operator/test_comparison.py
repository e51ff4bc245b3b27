"""Runs, figures and conclusions of a Comparison: the pure parts, without a cluster."""

from typing import Any

from diffusion_operator.api.comparison import ColdStart, Run
from diffusion_operator.comparison.analysis.differences import differences, meant
from diffusion_operator.comparison.analysis.measurements import (
    cold_start,
    ended,
    failed,
    nodes_of,
    waiting,
)
from diffusion_operator.comparison.analysis.results import (
    CAPACITY,
    LATENCY,
    THROUGHPUT,
    Compared,
    criterion,
    estimate,
    table,
)

Object = dict[str, Any]

LOAD = {"users": {"stages": [{"users": 4, "duration": "10s"}]}}


FACTS = {"backend": "fastapi", "torch": "2.15.0", "steps": "4", "image": "a@sha256:1"}


def test_nothing_differs_between_equal_fingerprints() -> None:
    assert differences({"a": [FACTS, FACTS], "b": [FACTS]}, set()) == ()


def test_only_facts_that_a_variant_overrides_may_differ() -> None:
    other = {**FACTS, "backend": "litserve", "image": "b@sha256:2", "litserve": "0.2.19"}
    allowed = meant([{"backend": "fastapi"}, {"backend": "litserve"}])
    assert differences({"a": [FACTS], "b": [other]}, allowed) == ()
    torch = {**other, "torch": "2.9.0"}
    (difference,) = differences({"a": [FACTS], "b": [torch]}, allowed)
    assert difference == "torch (2.15.0 in a, 2.9.0 in b)"


def test_a_fact_that_changes_between_repetitions_of_one_variant_is_named_too() -> None:
    allowed = meant([{"backend": "fastapi"}])
    (difference,) = differences(
        {"a": [FACTS, {**FACTS, "image": "a@sha256:9"}], "b": [FACTS]}, allowed
    )
    assert difference.startswith("image (a@sha256:1 and a@sha256:9 in a")


def run(variant: str, repetition: int, rps: str = "5.0", **more: Any) -> Run:
    settings: Object = {
        "variant": variant,
        "repetition": repetition,
        "state": "Complete",
        "completion_time": "2026-01-01T00:00:00Z",
        "valid": True,
        "requests": 100,
        "failures": 0,
        "requests_per_second": rps,
        "p50": 200,
        "p95": 400,
        "p99": 500,
        "fingerprint": FACTS,
        **more,
    }
    return Run(**settings)


def compared(*names: str, by: Any = THROUGHPUT, **more: Any) -> Compared:
    settings: Object = {
        "criterion": by,
        "loads": dict.fromkeys(names, LOAD),
        "dollars_per_hour": dict.fromkeys(names),
        "images": dict.fromkeys(names, 1),
        "may_differ": set(),
        **more,
    }
    return Compared(**settings)


FAST = [run("fast", i, rps) for i, rps in enumerate(("9.0", "9.05", "8.95"), 1)]
SLOW = [run("slow", i, rps) for i, rps in enumerate(("5.0", "5.05", "4.95"), 1)]


def test_separated_variants_are_ranked_and_the_best_is_recommended() -> None:
    ranked = table(["slow", "fast"], [*SLOW, *FAST], compared("slow", "fast"))
    assert [(row.variant, row.rank) for row in ranked.results] == [("fast", 1), ("slow", 2)]
    assert ranked.recommended == "fast"
    best = ranked.results[0].requests_per_second
    assert best is not None
    assert best.mean == "9"
    assert best.low is not None
    assert best.high is not None
    assert float(best.low) < 9.0 < float(best.high)


def test_a_variant_whose_figures_are_not_valid_is_shown_and_not_ranked() -> None:
    bad = run(
        "odd", 1, "99.0", valid=False, reason="ClientSaturated", message="the client was busy"
    )
    ranked = table(["fast", "slow", "odd"], [*FAST, *SLOW, bad], compared("fast", "slow", "odd"))
    odd = ranked.results[-1]
    assert (odd.variant, odd.rank, odd.reason) == ("odd", None, "ClientSaturated")
    assert "the client was busy" in odd.message
    assert ranked.recommended == ""
    assert (
        "not recommended, because there are no valid figures of odd (ClientSaturated)"
        in ranked.conclusion
    )


def test_a_variant_that_failed_leaves_the_others_ranked() -> None:
    gone = failed(run("gone", 1), "NotReady", "never Ready", now="2026-01-01T00:00:00Z")
    ranked = table(["gone", "fast", "slow"], [gone, *FAST, *SLOW], compared("gone", "fast", "slow"))
    assert [row.variant for row in ranked.results] == ["fast", "slow", "gone"]
    assert ranked.results[-1].reason == "NotReady"
    assert ranked.recommended == "fast"


def test_unlike_loads_are_shown_side_by_side_and_not_ranked() -> None:
    loads = {"fast": LOAD, "slow": {**LOAD, "think": {"max": "1s"}}}
    ranked = table(["slow", "fast"], [*SLOW, *FAST], compared("slow", "fast", loads=loads))
    assert [row.rank for row in ranked.results] == [None, None]
    assert ranked.differences == ("load",)
    assert ranked.recommended == ""


def test_nothing_is_recommended_among_variants_that_differ_in_other_facts_too() -> None:
    other = [each.model_copy(update={"fingerprint": {**FACTS, "torch": "2.9.0"}}) for each in FAST]
    ranked = table(["slow", "fast"], [*SLOW, *other], compared("slow", "fast"))
    assert ranked.recommended == ""
    assert "also differ in torch" in ranked.conclusion


def test_cost_follows_from_the_price_and_the_speed() -> None:
    prices = {"fast": 2.7, "slow": None}
    ranked = table(
        ["fast", "slow"], [*FAST, *SLOW], compared("fast", "slow", dollars_per_hour=prices)
    )
    fast, slow = ranked.results
    # 9 images a second are 32,400 an hour, for 2.7 dollars.
    assert fast.cost_per_thousand_images == "0.08333"
    assert fast.images_per_dollar == "12000"
    assert slow.cost_per_thousand_images is None


def test_the_criterion_follows_from_the_load() -> None:
    assert criterion(LOAD) is THROUGHPUT
    assert criterion({"arrivals": {}}) is LATENCY
    assert criterion({"search": {}}) is CAPACITY


def test_capacities_one_step_of_the_search_apart_are_not_separated() -> None:
    def searched(variant: str, users: int) -> list[Run]:
        return [
            run(
                variant,
                i,
                max_load_within_slo=str(users),
                load_beyond_slo=str(users + 1),
                slo_met=True,
            )
            for i in (1, 2, 3, 4, 5)
        ]

    def recommended(more: int, less: int) -> str:
        runs = [*searched("more", more), *searched("less", less)]
        return table(["more", "less"], runs, compared("more", "less", by=CAPACITY)).recommended

    assert recommended(9, 8) == ""
    assert recommended(10, 8) == "more"


def test_an_estimate_of_one_run_has_no_interval_and_of_none_is_absent() -> None:
    one = estimate(["5.0", None])
    assert one is not None
    assert (one.mean, one.low, one.high) == ("5", None, None)
    assert estimate([None, None]) is None


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}Z"


def test_the_cold_start_is_that_of_the_slowest_pod() -> None:
    def pod(ready: int) -> Object:
        return {
            "status": {
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": at(1)},
                    {"type": "Ready", "status": "True", "lastTransitionTime": at(ready)},
                ],
                "containerStatuses": [{"state": {"running": {"startedAt": at(4)}}}],
            }
        }

    service = {"metadata": {"creationTimestamp": at(0)}}
    assert cold_start(service, [pod(12), pod(19)]) == ColdStart(scheduled=1, started=4, ready=19)
    assert cold_start(service, []) == ColdStart()


def test_the_record_of_a_run_fits_the_status_however_large_the_run_is() -> None:
    pods = [{"spec": {"nodeName": f"node-{n:03}"}} for n in range(200)]
    assert len(nodes_of(pods)) == 64
    begun = Run(variant="a", repetition=1, state="Starting")
    waits = waiting(begun, "Refused: " + "x" * 4096)
    kept = waits.model_copy(update={"nodes": nodes_of(pods)}).model_dump()
    assert Run.model_validate(kept).message.startswith("Refused: x")


def ended_test(**status: Any) -> Object:
    return {
        "spec": LOAD,
        "status": {
            "state": "Complete",
            "completionTime": at(50),
            "summary": {
                "requests": 110,
                "failures": 10,
                "requestsPerSecond": "5.0",
                "p50": 100,
                "p95": 200,
                "p99": 300,
            },
            "conditions": [
                {"type": "Valid", "status": "True", "reason": "Measured", "message": "fine"},
                {"type": "SLOMet", "status": "False", "reason": "TooSlow", "message": "p95"},
            ],
            "target": {
                "fingerprint": {"image": "a@sha256:1", "replicas": 2, "facts": {"steps": "4"}}
            },
            **status,
        },
    }


def test_a_runs_figures_are_its_load_tests_and_its_reports() -> None:
    about = {
        "bare_pipeline": [{"images": 1, "seconds": 0.5}, {"images": 8, "seconds": 2.0}],
        "startup": {"load_seconds": 3.25, "warm_up_seconds": 1.5},
        "usage": {"energy_joules": 1000.0, "device_busy_seconds": 10.0},
        "uptime_seconds": 50.0,
    }
    after = {
        "usage": {"energy_joules": 3000.0, "memory_peak_bytes": 7, "device_busy_seconds": 40.0},
        "uptime_seconds": 80.0,
        "devices": 2,
    }
    report = {
        "target": {"about": about, "aboutAfter": after},
        "summary": {
            "requests": 110,
            "failures": 10,
            "discarded": 0,
            "timings": {"queue": {"mean": 12.4}, "denoise": {"mean": 80.6}},
        },
    }
    begun = Run(variant="a", repetition=1, state="Testing", cold_start=ColdStart(ready=9))
    record = ended(begun, ended_test(), report, images=2, now=at(59))
    assert (record.state, record.valid, record.slo_met, record.requests) == (
        "Complete",
        True,
        False,
        110,
    )
    # 5 requests of 2 images a second; 2 pods whose pipeline makes 4 a second at best.
    assert record.efficiency == "1.25"
    assert record.tax == {"queue": 12, "denoise": 81}
    assert record.cold_start == ColdStart(ready=9, model_load="3.25", first_images="1.5")
    # Two pods, and no record of which of them answered /about each time.
    assert (record.joules_per_image, record.gpu_utilisation) == (None, None)
    alone = {"fingerprint": {"image": "a@sha256:1", "replicas": 1, "facts": {"steps": "4"}}}
    of_one = ended(begun, ended_test(target=alone), report, images=2, now=at(59))
    # 2000 joules for the 100 requests that succeeded, of 2 images each.
    assert of_one.joules_per_image == "10"
    # Two GPUs that were busy for 30 seconds together, within 30 seconds.
    assert of_one.gpu_utilisation == "0.5"
    assert record.memory_bytes == 7
    assert record.fingerprint is not None
    assert record.fingerprint["steps"] == "4"


def test_a_searchs_capacity_is_kept_with_the_load_beyond_it() -> None:
    begun = Run(variant="a", repetition=1, state="Testing")
    report = {"search": {"over": "users", "knee": 24, "step": 1.0}}
    record = ended(begun, ended_test(maxUsersWithinSLO=24), report, images=1, now=at(59))
    assert (record.max_load_within_slo, record.load_beyond_slo) == ("24", "25")
    of_stages = ended(begun, ended_test(maxUsersWithinSLO=24), {}, images=1, now=at(59))
    assert (of_stages.max_load_within_slo, of_stages.load_beyond_slo) == ("24", None)


def test_an_efficiency_is_unknown_if_the_bare_pipeline_did_other_work() -> None:
    timed = [{"images": 1, "seconds": 0.5}]
    begun = Run(variant="a", repetition=1, state="Testing")

    def efficiency(**generation: float) -> str | None:
        about = {"bare_pipeline": timed, "generation": generation}
        report = {"target": {"about": about}}
        return ended(begun, ended_test(), report, images=1, now=at(59)).efficiency

    assert efficiency(steps=4.0, width=512) is not None
    assert efficiency(steps=50, width=512) is None


def test_a_runs_end_is_of_the_operators_clock_which_times_the_cooldown() -> None:
    begun = Run(variant="a", repetition=1, state="Testing")
    by_the_node = ended_test(completionTime=at(1))
    assert ended(begun, by_the_node, {}, images=1, now=at(59)).completion_time == at(59)


def test_without_a_report_the_figures_stay_and_the_rest_is_unknown() -> None:
    begun = Run(variant="a", repetition=1, state="Testing")
    record = ended(begun, ended_test(), {}, images=1, now=at(59))
    assert record.requests_per_second == "5.0"
    assert (record.efficiency, record.tax, record.joules_per_image) == (None, None, None)


def test_a_failed_load_test_says_why() -> None:
    conditions = [
        {"type": "Failed", "status": "True", "reason": "AllRequestsFailed", "message": "m"}
    ]
    begun = Run(variant="a", repetition=1, state="Testing")
    test = ended_test(state="Failed", conditions=conditions)
    record = ended(begun, test, {}, images=1, now=at(59))
    assert (record.state, record.reason, record.message) == ("Failed", "AllRequestsFailed", "m")
