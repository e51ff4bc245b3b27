"""The kubelet's mount Events, which many services of a namespace may wait for."""

import asyncio
from typing import Any

from diffusion_operator.kube.mount_events import FRESH_SECONDS, MountEvents

Object = dict[str, Any]


class Counting:
    """A cluster that counts the lists of Events."""

    def __init__(self) -> None:
        self.lists: list[str] = []

    async def pod_events(self, namespace: str, *, reason: str) -> list[Object]:
        assert reason == "FailedMount"
        self.lists.append(namespace)
        await asyncio.sleep(0)
        return [{"message": f"{namespace} {len(self.lists)}"}]


async def test_many_services_of_a_namespace_share_one_list_for_a_few_seconds() -> None:
    now, cluster = 0.0, Counting()
    events = MountEvents(cluster, clock=lambda: now)  # type: ignore[arg-type] # a stand-in by shape
    read = await asyncio.gather(*(events.of("shop") for _ in range(50)), events.of("other"))
    assert sorted(cluster.lists) == ["other", "shop"]
    assert read[0] == read[49]
    now = FRESH_SECONDS - 0.1
    await events.of("shop")
    assert len(cluster.lists) == 2
    now = FRESH_SECONDS
    assert await events.of("shop") != read[0]
    assert cluster.lists[2:] == ["shop"]
