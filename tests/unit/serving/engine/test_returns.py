from diffusion_serving.engine.returns import Returns

STEP = 1.0


def seen(returned: int, finished: int, rounds: int = 60, after: float = 0.01) -> Returns:
    """Clients of whom so many of the finished came back so long after each finish."""
    returns = Returns()
    for number in range(rounds):
        returns.finish(finished, 10.0 * number, STEP)
        for _ in range(returned):
            returns.arrive(1, 10.0 * number + after)
    returns.finish(finished, 1000.0, STEP)
    return returns


def test_a_step_waits_a_moment_for_clients_that_always_come_back() -> None:
    until = seen(1, 1).wait_until(ready=3, room=4, step_seconds=STEP)
    assert 1000.0 < until <= 1000.0 + 0.1 * STEP


def test_the_wait_ends_when_all_are_back() -> None:
    returns = seen(2, 2)
    returns.arrive(1, 1000.01)
    assert returns.wait_until(3, 4, STEP) > 1000.0
    returns.arrive(1, 1000.02)
    assert returns.wait_until(3, 4, STEP) == 0.0


def test_no_step_waits_for_clients_that_never_come_back_or_come_too_late() -> None:
    assert seen(0, 1).wait_until(3, 4, STEP) == 0.0
    assert seen(1, 1, after=0.5).wait_until(3, 4, STEP) == 0.0


def test_a_step_without_room_waits_for_nobody() -> None:
    assert seen(1, 1).wait_until(8, 0, STEP) == 0.0


def test_many_do_not_wait_for_one_where_that_costs_them_more_than_it_brings() -> None:
    assert seen(1, 1).wait_until(30, 4, STEP) == 0.0


def test_clients_are_waited_for_past_a_short_check_of_their_pictures() -> None:
    def after_a_check(seconds: float) -> Returns:
        returns = Returns()
        for number in range(60):
            returns.finish(1, 10.0 * number, STEP, seconds)
            returns.arrive(1, 10.0 * number + seconds + 0.01)
        returns.finish(1, 1000.0, STEP, seconds)
        return returns

    until = after_a_check(0.1).wait_until(ready=3, room=4, step_seconds=STEP)
    assert 1000.1 < until <= 1000.2
    assert after_a_check(0.3).wait_until(3, 4, STEP) == 0.0
