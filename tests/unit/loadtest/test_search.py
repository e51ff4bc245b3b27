import random
from collections.abc import Callable

import pytest

from diffusion_loadtest.plan.load_plan import Search
from diffusion_loadtest.plan.search import MAX_PROBES, Knee, Probe, knee, next_level


def search(over: str, lowest: float, highest: float) -> Search:
    return Search.model_validate({"over": over, "min": lowest, "max": highest, "probeSeconds": 60})


def carried_out(wanted: Search, within: Callable[[float], bool]) -> list[Probe]:
    probed: list[Probe] = []
    while (level := next_level(wanted, probed)) is not None:
        probed.append(Probe(level, within(level)))
    return probed


@pytest.mark.parametrize("truth", [1, 2, 3, 7, 10, 31, 32, 49, 64, 99])
def test_every_knee_of_up_to_a_hundred_users_is_found_to_the_user(truth: int) -> None:
    wanted = search("users", 1, 100)
    probed = carried_out(wanted, lambda level: level <= truth)
    found = knee(wanted, probed)
    assert len(probed) <= MAX_PROBES
    assert found.confirmed
    assert found.level is not None
    assert found.level <= truth < found.level + found.step
    assert found.step <= max(1, 0.02 * truth + 1)


@pytest.mark.parametrize("truth", [0.13, 0.9, 1.0, 4.3, 17.77, 99.0, 150.0])
def test_a_rate_is_found_within_one_step_of_two_per_cent(truth: float) -> None:
    wanted = search("rate", 0.1, 200.0)
    probed = carried_out(wanted, lambda level: level <= truth)
    found = knee(wanted, probed)
    assert len(probed) <= MAX_PROBES
    assert found.confirmed
    assert found.level is not None
    assert found.level <= truth < found.level + found.step
    assert found.step <= 0.021 * found.level


@pytest.mark.parametrize("seed", range(200))
def test_a_search_always_ends_with_a_level_that_was_within_and_none_below_that_failed(
    seed: int,
) -> None:
    chance = random.Random(seed)
    highest = chance.choice([2, 3, 10, 100, 5000, 100_000])
    wanted = search(chance.choice(["users", "rate"]), 1, highest)
    truth = chance.uniform(0.5, 1.2 * highest)
    # a target whose figures scatter about the knee
    probed = carried_out(wanted, lambda level: level <= truth * chance.uniform(0.9, 1.1))
    assert 1 <= len(probed) <= MAX_PROBES
    assert all(1 <= probe.level <= highest for probe in probed)
    if wanted.over == "users":
        assert all(probe.level.is_integer() for probe in probed)
    found = knee(wanted, probed)
    if found.level is None:
        assert Probe(1.0, within=False) in probed
    else:
        assert Probe(found.level, within=True) in probed
        assert all(probe.level > found.level for probe in probed if not probe.within)


def test_nothing_is_found_below_the_lowest_level() -> None:
    wanted = search("users", 4, 100)
    probed = carried_out(wanted, lambda _: False)
    assert probed == [Probe(4.0, within=False)]
    assert knee(wanted, probed) == Knee(None, confirmed=False, step=0.0, at_max=False)


def test_target_that_bears_everything_is_said_to_bear_more() -> None:
    wanted = search("users", 1, 64)
    probed = carried_out(wanted, lambda _: True)
    assert [probe.level for probe in probed] == [1, 4, 16, 64, 64]
    assert knee(wanted, probed) == Knee(64.0, confirmed=True, step=0.0, at_max=True)


def test_level_that_fails_when_it_is_confirmed_is_beyond() -> None:
    wanted = search("users", 1, 10)
    lucky: list[float] = []

    def within(level: float) -> bool:
        lucky.append(level)
        return level <= 5 or (level == 6 and lucky.count(6) == 1)

    found = knee(wanted, carried_out(wanted, within))
    assert found == Knee(5.0, confirmed=True, step=1.0, at_max=False)


def test_rate_that_held_once_and_failed_once_costs_one_step() -> None:
    wanted = search("rate", 100, 900)
    seen: list[float] = []

    def within(level: float) -> bool:
        seen.append(level)
        return level < 300 or (level == 300 and seen.count(300) == 1)

    probed = carried_out(wanted, within)
    found = knee(wanted, probed)
    assert Probe(300.0, within=False) in probed
    assert len(probed) <= MAX_PROBES
    assert found.confirmed
    assert found.level is not None
    assert found.step == pytest.approx(300 - found.level)
    assert 0 < found.step <= 0.021 * found.level
