"""Claims of several releases on namespaces, over one API server that is played."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from diffusion_operator.kube.claims import EXPIRY_SECONDS, MOST_SKEW, Claims
from diffusion_operator.kube.client import ApiError

Object = dict[str, Any]


class PlayedLeases:
    """The Leases of a cluster, and its clock."""

    def __init__(self) -> None:
        self.leases: dict[tuple[str, str], Object] = {}
        self.seconds = 0.0
        self.error: Exception | None = None

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    async def apply(self, lease: Object) -> Object:
        if self.error is not None:
            raise self.error
        meta = lease["metadata"]
        place = meta["namespace"], meta["name"]
        made = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        before = self.leases.get(place, {"metadata": {"creationTimestamp": made}})
        known = {"uid": "/".join(place), **before["metadata"]}
        self.leases[place] = {**lease, "metadata": {**known, **meta}}
        return self.leases[place]

    async def pages(self, kind: str, namespace: str) -> AsyncIterator[tuple[str, list[Object]]]:
        assert kind == "Lease"
        yield "1", [each for (at, _), each in self.leases.items() if namespace in {"", at}]


class Release:
    """One release with its claims, which renews them when a test says so."""

    def __init__(self, cluster: PlayedLeases, release: str, *namespaces: str) -> None:
        self.changes = 0
        self.has_begun = False
        self._turns: asyncio.Queue[None] = asyncio.Queue()
        self._rests: asyncio.Queue[None] = asyncio.Queue()
        self.claims = Claims(
            cluster,  # type: ignore[arg-type] # the part of a Cluster that claims use
            release,
            namespaces,
            now=cluster.now,
            clock=lambda: cluster.seconds,
            sleep=self._sleep,
        )
        self.task: asyncio.Task[None] | None = None

    def _change(self) -> None:
        self.changes += 1

    def _begin(self) -> None:
        self.has_begun = True

    async def _sleep(self, _: float) -> None:
        self._rests.put_nowait(None)
        await self._turns.get()

    async def renew(self) -> None:
        if self.task is None:
            self.task = asyncio.create_task(self.claims.keep(self._begin, self._change))
        else:
            self._turns.put_nowait(None)
        await self._rests.get()


@pytest.fixture
def cluster() -> PlayedLeases:
    return PlayedLeases()


async def test_of_two_releases_for_all_namespaces_the_first_reconciles(
    cluster: PlayedLeases, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Release(cluster, "old/op"), Release(cluster, "new/op")
    await first.renew()
    cluster.seconds = 5
    with caplog.at_level(logging.WARNING):
        await second.renew()
        await first.renew()
    assert second.has_begun
    assert first.claims.holder("shop") is None
    assert second.claims.holder("shop") == "old/op"
    assert "release old/op reconciles all namespaces, and this one (new/op) leaves" in caplog.text
    assert "release new/op watches all namespaces, too" in caplog.text


async def test_a_claim_passes_once_its_release_is_gone(cluster: PlayedLeases) -> None:
    first, second = Release(cluster, "old/op"), Release(cluster, "new/op")
    await first.renew()
    cluster.seconds = 1
    await second.renew()
    cluster.seconds = EXPIRY_SECONDS
    await second.renew()
    assert (second.claims.holder("shop"), second.changes) == ("old/op", 0)
    cluster.seconds = EXPIRY_SECONDS + 1
    await second.renew()
    assert (second.claims.holder("shop"), second.changes) == (None, 1)


async def test_a_release_says_once_that_its_deleted_claim_has_lost_its_place(
    cluster: PlayedLeases, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Release(cluster, "old/op"), Release(cluster, "new/op")
    await first.renew()
    cluster.seconds = 1
    await second.renew()
    await first.renew()
    changes = first.changes
    cluster.leases = {place: each for place, each in cluster.leases.items() if "new" in place}
    cluster.seconds = 2
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        await first.renew()
        await first.renew()
    assert (first.claims.holder("shop"), first.changes) == ("new/op", changes + 1)
    assert caplog.text.count("release new/op reconciles all namespaces") == 1


async def test_a_renewed_claim_does_not_expire(cluster: PlayedLeases) -> None:
    first, second = Release(cluster, "old/op"), Release(cluster, "new/op")
    for moment in range(0, 200, 20):
        cluster.seconds = moment
        await first.renew()
        cluster.seconds = moment + 1
        await second.renew()
    assert (second.claims.holder("shop"), second.changes) == ("old/op", 0)


async def test_a_release_for_a_namespace_goes_before_an_older_one_for_all(
    cluster: PlayedLeases,
) -> None:
    everywhere, one = Release(cluster, "ops/op"), Release(cluster, "team/op", "shop")
    await everywhere.renew()
    cluster.seconds = 5
    await one.renew()
    await everywhere.renew()
    assert everywhere.claims.holder("shop") == "team/op"
    assert everywhere.claims.holder("other") is None
    assert one.claims.holder("shop") is None


async def test_two_releases_with_lists_share_out_what_both_list(cluster: PlayedLeases) -> None:
    first, second = Release(cluster, "x/op", "a", "b"), Release(cluster, "y/op", "b", "c")
    await first.renew()
    cluster.seconds = 5
    await second.renew()
    await first.renew()
    assert [first.claims.holder(each) for each in "ab"] == [None, None]
    assert [second.claims.holder(each) for each in "bc"] == ["x/op", None]


async def test_the_next_leader_of_a_release_has_its_predecessors_claim(
    cluster: PlayedLeases,
) -> None:
    former, other = Release(cluster, "ops/op"), Release(cluster, "new/op")
    await former.renew()
    cluster.seconds = 1
    await other.renew()
    cluster.seconds = EXPIRY_SECONDS - 5
    successor = Release(cluster, "ops/op")
    await successor.renew()
    await other.renew()
    assert successor.claims.holder("shop") is None
    assert other.claims.holder("shop") == "ops/op"


async def test_a_claim_of_long_ago_holds_up_no_new_release(cluster: PlayedLeases) -> None:
    await Release(cluster, "gone/op").renew()
    cluster.seconds = MOST_SKEW.total_seconds() + 1
    fresh = Release(cluster, "new/op")
    await fresh.renew()
    assert fresh.claims.holder("shop") is None


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (ApiError(403, "Forbidden", '{"message": "no"}', None), True),
        (ApiError(500, "Internal", "", None), False),
        (OSError("down"), False),
    ],
)
async def test_a_release_begins_once_it_knows_the_claims_or_never_may(
    cluster: PlayedLeases, error: Exception, *, begins: bool
) -> None:
    cluster.error = error
    release = Release(cluster, "ops/op")
    await release.renew()
    assert release.has_begun is begins
    cluster.error = None
    await release.renew()
    assert release.has_begun
