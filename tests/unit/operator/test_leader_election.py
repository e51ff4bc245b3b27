"""The time for which a leader without its Lease goes on."""

import asyncio

import pytest
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection

from diffusion_operator.kube.leader_election import (
    LEASE_SECONDS,
    RENEW_DEADLINE_SECONDS,
    RETRY_SECONDS,
    _Patient,
)


class Clock:
    """The time of an event loop in which sleeps and hanging requests take no time."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("took", [0.0, 0.5, 1.9, 5.0])
async def test_a_leader_stops_before_another_may_lead_however_slow_its_last_tries_are(
    took: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, real = Clock(), asyncio.sleep

    async def fail_slowly(_: LeaderElection) -> bool:
        raise AssertionError  # only wait_for's stand-in decides how long it takes

    async def bounded(trying: object, seconds: float) -> bool:
        trying.close()  # type: ignore[attr-defined] # a coroutine that is never awaited
        clock.now += min(took, seconds)
        await real(0)
        return False

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(LeaderElection, "try_acquire_or_renew", fail_slowly)
    monkeypatch.setattr(asyncio, "wait_for", bounded)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    monkeypatch.setattr(loop, "time", lambda: clock.now, raising=False)
    election = object.__new__(_Patient)
    config = object.__new__(Config)
    config.retry_period, config.renew_deadline = RETRY_SECONDS, RENEW_DEADLINE_SECONDS
    election.election_config = config
    monkeypatch.setattr("time.time", lambda: clock.now)  # the original's clock
    await election.renew_loop()
    # The try that made it the leader may have taken as long as one more.
    assert clock.now + RETRY_SECONDS < LEASE_SECONDS
