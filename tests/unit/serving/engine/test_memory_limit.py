import math
from itertools import pairwise

from diffusion_serving.engine.memory_limit import FIRST_PATIENCE, MemoryLimit


def test_memory_that_never_ran_out_has_no_limit() -> None:
    assert MemoryLimit().images(64) == math.inf


def test_a_shortage_halves_the_limit_for_every_size() -> None:
    limit = MemoryLimit()
    limit.refuse(8 * 100)
    assert [limit.images(pixels) for pixels in (100, 50, 200, 800)] == [4, 8, 2, 1]


def test_a_limit_grows_back_after_a_passing_shortage() -> None:
    limit = MemoryLimit()
    limit.refuse(800)
    for _ in range(FIRST_PATIENCE):
        assert limit.pixels == 400
        limit.admit(400)
    assert limit.pixels == 800
    limit.admit(800)
    assert limit.pixels == math.inf


def test_calls_far_below_the_limit_show_nothing() -> None:
    limit = MemoryLimit()
    limit.refuse(800)
    for _ in range(10 * FIRST_PATIENCE):
        limit.admit(100)
    assert limit.pixels == 400


def test_each_trial_in_vain_doubles_the_calls_until_the_next() -> None:
    limit = MemoryLimit()
    trials = []
    for call in range(16 * FIRST_PATIENCE):
        if limit.pixels >= 800:
            trials.append(call)
            limit.refuse(800)
        limit.admit(400)
    waits = [later - earlier for earlier, later in pairwise(trials)]
    assert len(waits) >= 2
    assert all(later == 2 * earlier for earlier, later in pairwise(waits))
