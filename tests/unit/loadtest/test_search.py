import random
from collections.abc import Callable

import pytest

from diffusion_loadtest.plan.load_plan import Search
from diffusion_loadtest.plan.search import MAX_PROBES, Knee, Probe, knee, next_level


def search(over: str, lowest: float, highest: float) -> Search:
    return Search.model_validate({"over": over, "min": lowest, "max": highest, "probeSeconds": 60})


def run_probes(plan: Search, within: Callable[[float], bool]) -> list[Probe]:
    probed: list[Probe] = []
    while (level := next_level(plan, probed)) is not None:
        probed.append(Probe(level, within(level)))
    return probed


@pytest.mark.parametrize("truth", [1, 2, 3, 7, 10, 31, 32, 49, 64, 99])
def test_every_knee_of_up_to_a_hundred_users_is_found_to_the_user(truth: int) -> None:
    plan = search("users", 1, 100)
    probed = run_probes(plan, lambda level: level <= truth)
    result = knee(plan, probed)
    assert len(probed) <= MAX_PROBES
    assert result.confirmed
    assert result.level is not None
    assert result.level <= truth < result.level + result.step
    assert result.step <= max(1, 0.02 * truth + 1)


@pytest.mark.parametrize("truth", [0.13, 0.9, 1.0, 4.3, 17.77, 99.0, 150.0])
def test_a_rate_is_found_within_one_step_of_two_per_cent(truth: float) -> None:
    plan = search("rate", 0.1, 200.0)
    probed = run_probes(plan, lambda level: level <= truth)
    result = knee(plan, probed)
    assert len(probed) <= MAX_PROBES
    assert result.confirmed
    assert result.level is not None
    assert result.level <= truth < result.level + result.step
    assert result.step <= 0.021 * result.level


@pytest.mark.parametrize("seed", range(200))
def test_a_search_always_ends_with_a_level_that_was_within_and_none_below_that_failed(
    seed: int,
) -> None:
    chance = random.Random(seed)
    highest = chance.choice([2, 3, 10, 100, 5000, 100_000])
    plan = search(chance.choice(["users", "rate"]), 1, highest)
    truth = chance.uniform(0.5, 1.2 * highest)
    # a target whose figures scatter about the knee
    probed = run_probes(plan, lambda level: level <= truth * chance.uniform(0.9, 1.1))
    assert 1 <= len(probed) <= MAX_PROBES
    assert all(1 <= probe.level <= highest for probe in probed)
    if plan.over == "users":
        assert all(probe.level.is_integer() for probe in probed)
    result = knee(plan, probed)
    if result.level is None:
        assert probed.count(Probe(1.0, within=False)) == 2
    else:
        assert Probe(result.level, within=True) in probed
        # each level that failed twice is above the knee
        failed = [probe.level for probe in probed if not probe.within]
        assert all(level > result.level for level in failed if failed.count(level) > 1)


def test_search_has_no_knee_if_the_lowest_level_is_beyond() -> None:
    plan = search("users", 4, 100)
    probed = run_probes(plan, lambda _: False)
    assert probed == [Probe(4.0, within=False)] * 2
    assert knee(plan, probed) == Knee(None, confirmed=False, step=0.0, at_max=False)


def test_target_that_meets_its_slo_at_every_level_has_its_knee_at_the_maximum() -> None:
    plan = search("users", 1, 64)
    probed = run_probes(plan, lambda _: True)
    assert [probe.level for probe in probed] == [1, 4, 16, 64, 64]
    assert knee(plan, probed) == Knee(64.0, confirmed=True, step=0.0, at_max=True, load=64.0)


def test_level_that_fails_when_it_is_confirmed_is_beyond() -> None:
    plan = search("users", 1, 10)
    tried: list[float] = []

    def within(level: float) -> bool:
        tried.append(level)
        return level <= 5 or (level == 6 and tried.count(6) == 1)

    result = knee(plan, run_probes(plan, within))
    assert result == Knee(5.0, confirmed=True, step=1.0, at_max=False, load=5.0)


def test_rate_that_held_once_and_failed_twice_costs_one_step() -> None:
    plan = search("rate", 100, 900)
    tried: list[float] = []

    def within(level: float) -> bool:
        tried.append(level)
        return level < 300 or (level == 300 and tried.count(300) == 1)

    probed = run_probes(plan, within)
    result = knee(plan, probed)
    assert Probe(300.0, within=False) in probed
    assert len(probed) <= MAX_PROBES
    assert result.confirmed
    assert result.level is not None
    assert result.step == pytest.approx(300 - result.level)
    assert 0 < result.step <= 0.021 * result.level
