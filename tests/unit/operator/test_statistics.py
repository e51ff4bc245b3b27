"""Statistics behind a Comparison's recommendation, against tables and simulations."""

import math
import random

import pytest

from diffusion_operator.comparison.analysis.rankable import RankableVariant
from diffusion_operator.comparison.analysis.ranking import Ranking, rank
from diffusion_operator.comparison.analysis.statistics import (
    critical_t,
    interval,
    own_variances,
    p_value,
    welch,
)


# Two-sided critical values of Student's t from the tables of NIST's handbook, section 1.3.6.7.2.
@pytest.mark.parametrize(
    ("degrees", "p", "t"),
    [(1, 0.05, 12.706), (2, 0.01, 9.925), (4, 0.05, 2.776), (30, 0.01, 2.750)],
)
def test_students_t_is_that_of_the_tables(degrees: float, p: float, t: float) -> None:
    assert p_value(t, degrees) == pytest.approx(p, rel=1e-3)
    assert critical_t(p, degrees) == pytest.approx(t, rel=1e-3)


def test_welch_is_that_of_a_worked_example() -> None:
    first, second = (1.0, 2.0, 3.0, 4.0), (4.0, 5.0, 6.0, 9.0)
    # Computed by hand: means 2.5 and 6, variances 5/3 and 14/3, of four values each.
    shares = (5 / 12, 14 / 12)
    degrees = sum(shares) ** 2 / (shares[0] ** 2 / 3 + shares[1] ** 2 / 3)
    expected = p_value(3.5 / math.sqrt(sum(shares)), degrees)
    assert welch(first, second, 0.0) == pytest.approx(expected)
    assert welch(first, first, 0.0) == 1.0


def test_one_repetition_separates_nothing() -> None:
    assert welch([1.0], [100.0, 101.0], 1e-8) == 1.0
    alone = interval([5.0])
    assert (alone.mean, alone.low, alone.high) == (5.0, None, None)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = random.Random(1)
    trials = 600
    covered = 0
    for _ in range(trials):
        estimate = interval([math.exp(rng.gauss(2.0, 0.1)) for _ in range(3)])
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= math.exp(2.0) <= estimate.high
    # Three standard deviations of the binomial about 95 %.
    assert abs(covered / trials - 0.95) < 3 * math.sqrt(0.95 * 0.05 / trials)


def random_variant(
    rng: random.Random, name: str, mean: float, spread: float, n: int = 3
) -> RankableVariant:
    values = [mean * math.exp(rng.gauss(0.0, spread)) for _ in range(n)]
    return RankableVariant(name, values, [None] * n)


def rank_variants(candidates: list[RankableVariant], *, higher: bool = True) -> Ranking:
    return rank(candidates, higher_is_better=higher, figure="requests per second")


@pytest.mark.parametrize("variants", [2, 5])
def test_equal_variants_are_told_apart_no_more_often_than_alpha(variants: int) -> None:
    rng = random.Random(2)
    trials = 1000
    false = sum(
        rank_variants([random_variant(rng, str(i), 5.0, 0.05) for i in range(variants)]).recommended
        is not None
        for _ in range(trials)
    )
    # Alpha is 1 %; three standard deviations of the binomial above it.
    assert false / trials <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / trials)


def test_a_difference_well_above_the_noise_is_found() -> None:
    """The power for a variant 30 % faster, with three and five repetitions that vary by 2 %."""
    rng = random.Random(3)

    def hit_rate(n: int) -> float:
        trials = 300
        hits = sum(
            rank_variants(
                [
                    random_variant(rng, "slow", 5.0, 0.02, n),
                    random_variant(rng, "fast", 6.5, 0.02, n),
                ]
            ).recommended
            == "fast"
            for _ in range(trials)
        )
        return hits / trials

    assert hit_rate(3) > 0.85
    assert hit_rate(5) > 0.99


def test_a_difference_below_the_smallest_effect_is_not_recommended() -> None:
    steady = [
        RankableVariant("a", [100.0, 100.001, 99.999], [None] * 3),
        RankableVariant("b", [101.0, 101.001, 100.999], [None] * 3),
    ]
    verdict = rank_variants(steady)
    assert verdict.order == ("b", "a")
    assert verdict.p_values["a"] < 0.01
    assert verdict.recommended is None
    assert "smallest effect 3%" in verdict.reason


def search_variant(name: str, most_users: float, step: float = 1.0) -> RankableVariant:
    return RankableVariant(name, [most_users] * 5, [True] * 5, [most_users + step] * 5)


@pytest.mark.parametrize(("most_users", "separated"), [(9.0, False), (10.0, True)])
def test_capacities_of_a_search_are_apart_only_by_more_than_its_step(
    most_users: float, *, separated: bool
) -> None:
    """Equal figures in each round have no variance, and are still known only within a step."""
    verdict = rank_variants([search_variant("less", 8.0), search_variant("more", most_users)])
    assert verdict.order == ("more", "less")
    assert (verdict.recommended == "more") is separated
    assert 0 < verdict.p_values["less"] <= (0.01 if separated else 1.0)


def test_the_worse_variants_step_counts_since_only_it_may_be_better_than_its_figure() -> None:
    assert (
        rank_variants([search_variant("less", 8.0), search_variant("more", 16.0, 4.0)]).recommended
        == "more"
    )
    assert (
        rank_variants([search_variant("less", 8.0, 4.0), search_variant("more", 11.0)]).recommended
        is None
    )


# If the noise is far below a step, chance decides which side of it a whole round falls on.
@pytest.mark.parametrize("spread", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("repetitions", [2, 3, 5])
def test_equal_capacities_counted_in_whole_users_are_told_apart_no_more_often_than_alpha(
    spread: float, repetitions: int
) -> None:
    rng = random.Random(4)

    def counted(name: str) -> RankableVariant:
        values = [
            float(max(1, math.floor(9.0 * math.exp(rng.gauss(0.0, spread)))))
            for _ in range(repetitions)
        ]
        return RankableVariant(name, values, [None] * repetitions, [value + 1 for value in values])

    trials = 2000
    false = sum(
        rank_variants([counted("a"), counted("b")]).recommended is not None for _ in range(trials)
    )
    assert false / trials <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / trials)


def test_lower_is_better_for_latencies() -> None:
    quick = RankableVariant("quick", [100.0, 101.0, 102.0], [None] * 3)
    slow = RankableVariant("slow", [200.0, 203.0, 198.0], [None] * 3)
    assert rank_variants([slow, quick], higher=False).recommended == "quick"


def test_the_objective_separates_where_it_is_met_by_one_and_never_by_the_other() -> None:
    good = RankableVariant("good", [5.0, 7.0, 6.0, 5.0, 6.0], [True] * 5)
    fast = RankableVariant("fast", [9.0, 9.5, 9.2, 9.1, 9.3], [False] * 5)
    verdict = rank_variants([fast, good])
    assert verdict.order == ("good", "fast")
    assert verdict.recommended == "good"
    assert "only good meets" in verdict.reason


def test_three_repetitions_on_either_side_of_the_objective_may_be_chance() -> None:
    good = RankableVariant("good", [5.0, 7.0, 6.0], [True] * 3)
    fast = RankableVariant("fast", [9.0, 9.5, 9.2], [False] * 3)
    verdict = rank_variants([fast, good])
    assert (verdict.order, verdict.recommended) == (("good", "fast"), None)
    assert "the objective alone separates from 5 repetitions on" in verdict.reason


@pytest.mark.parametrize(("variants", "repetitions"), [(2, 1), (2, 3), (2, 5), (4, 5)])
def test_equal_variants_at_the_very_objective_are_told_apart_no_more_often_than_alpha(
    variants: int, repetitions: int
) -> None:
    rng = random.Random(3)

    def at_the_limit(name: str) -> RankableVariant:
        values = [math.exp(rng.gauss(0.0, 0.05)) for _ in range(repetitions)]
        return RankableVariant(name, values, [value <= 1.0 for value in values])

    trials = 2000
    false = sum(
        rank_variants([at_the_limit(str(i)) for i in range(variants)], higher=False).recommended
        is not None
        for _ in range(trials)
    )
    assert false / trials <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / trials)


def test_the_least_bad_of_those_that_miss_the_objective_is_not_recommended() -> None:
    one = RankableVariant("one", [5.0, 5.01, 5.0], [False] * 3)
    two = RankableVariant("two", [9.0, 9.01, 9.0], [False] * 3)
    assert rank_variants([one, two]).recommended is None


def test_no_variant_and_a_single_one_give_no_recommendation() -> None:
    assert rank_variants([]).order == ()
    alone = rank_variants([RankableVariant("only", [1.0, 2.0], [None] * 2)])
    assert (alone.order, alone.recommended) == (("only",), None)


def test_own_variances_are_those_of_the_variants_whatever_the_rounds_levels_are() -> None:
    """The means over 400 studies, against the variances of the simulation."""
    rng = random.Random(5)
    scatters, rounds, studies = (0.10, 0.03, 0.03, 0.03), 5, 400
    sums = [0.0] * len(scatters)
    for _ in range(studies):
        levels = [rng.gauss(0.0, 0.2) for _ in range(rounds)]
        rows = [[rng.gauss(level, scatter) for level in levels] for scatter in scatters]
        sums = [total + own for total, own in zip(sums, own_variances(rows), strict=True)]
    assert sums[0] / studies == pytest.approx(0.10**2, rel=0.1)
    # the floor of a tenth, which few estimates meet, raises the calm variants' mean
    assert all(0.03**2 <= total / studies <= 2 * 0.03**2 for total in sums[1:])
