import pytest

from diffusion_loadtest.plan.load_plan import Stage
from diffusion_loadtest.plan.schedule import Change, user_changes


def changes(stages: list[tuple[int, float]], spawn_rate: float) -> list[Change]:
    return list(user_changes([Stage(users=u, duration_seconds=s) for u, s in stages], spawn_rate))


def test_users_come_one_by_one_at_the_spawn_rate() -> None:
    assert changes([(3, 10)], 2.0) == [(0.0, 0, 1), (0.5, 0, 2), (1.0, 0, 3)]
    assert changes([(2, 10)], 0.5) == [(0.0, 0, 1), (2.0, 0, 2)]


def test_users_go_one_by_one_too() -> None:
    assert changes([(2, 10), (1, 10), (1, 5)], 1.0) == [
        (0.0, 0, 1),
        (1.0, 0, 2),
        (10.0, 1, 1),
        (20.0, 2, 1),
    ]


def test_ramp_that_is_longer_than_its_stage_goes_on_in_the_next() -> None:
    schedule = changes([(100, 3), (5, 10)], 1.0)
    assert schedule[:3] == [(0, 0, 1), (1, 0, 2), (2, 0, 3)]
    assert schedule[3:] == [(3, 1, 4), (4, 1, 5)]


@pytest.mark.parametrize("stages", [[(30, 60.0)], [(30, 60.0), (100, 80.0), (24, 60.0)]])
def test_every_stage_is_entered_and_time_never_runs_backwards(
    stages: list[tuple[int, float]],
) -> None:
    schedule = changes(stages, 3.0)
    assert [c.at for c in schedule] == sorted(c.at for c in schedule)
    assert sorted({c.stage for c in schedule}) == list(range(len(stages)))
    for index, (users, _) in enumerate(stages):
        assert [c.users for c in schedule if c.stage == index][-1] == users
