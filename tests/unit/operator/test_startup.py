"""The operator's start before its kinds are there, and with namespaces that are not."""

import logging
from itertools import islice
from typing import Any

import pytest

from diffusion_operator.kube.client import ApiError, NotFoundError
from diffusion_operator.manager.startup import EndlessBackoff, until_one_returns, watchable


class Clock:
    """A sleep that takes no time, and changes the cluster after some of its calls."""

    def __init__(self, changes: dict[int, Any]) -> None:
        self.slept = 0
        self._changes = changes

    async def __call__(self, _: float) -> None:
        self.slept += 1
        self._changes.get(self.slept, lambda: None)()


class Served:
    """An API server with these kinds, these namespaces of the operator, or no answer."""

    def __init__(self, *namespaces: str) -> None:
        self.kinds = {"DiffusionService", "LoadTest", "Comparison"}
        self.namespaces = {*namespaces}
        self.down = False

    async def list_one(self, kind: str, namespace: str) -> None:
        if self.down:
            raise OSError("connection refused")
        if namespace not in self.namespaces:
            raise ApiError(403, "Forbidden", "", None)
        if kind not in self.kinds:
            raise NotFoundError(404, "Not Found", "", None, f"/apis/diffusion.dev/{kind}")


@pytest.mark.parametrize("late", ["DiffusionService", "LoadTest", "Comparison"])
async def test_the_operator_waits_for_each_of_its_kinds(
    late: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = Served("")
    served.kinds.remove(late)
    clock = Clock({3: lambda: served.kinds.add(late)})
    assert await watchable(served, [], clock) == []  # type: ignore[arg-type] # a stand-in by shape
    assert clock.slept == 3
    (line,) = [each.getMessage() for each in caplog.records]
    assert late in line
    assert "apply the CRDs" in line


async def test_an_api_server_that_does_not_answer_is_waited_for() -> None:
    served = Served("")
    served.down = True
    clock = Clock({2: lambda: setattr(served, "down", False)})
    assert await watchable(served, [], clock) == []  # type: ignore[arg-type] # a stand-in by shape
    assert clock.slept == 2


async def test_a_namespace_that_is_gone_is_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock({})
    served = Served("one", "two")
    there = await watchable(served, ["one", "gone", "two"], clock)  # type: ignore[arg-type] # a stand-in by shape
    assert there == ["one", "two"]
    (line,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "namespace gone" in line.getMessage()


async def test_without_any_namespace_the_operator_waits_and_never_watches_all() -> None:
    served = Served("")
    clock = Clock({2: lambda: served.namespaces.add("one")})
    assert await watchable(served, ["one", "two"], clock) == ["one"]  # type: ignore[arg-type] # a stand-in by shape


async def test_a_namespace_that_comes_back_is_noticed() -> None:
    served = Served("one")
    clock = Clock({3: lambda: served.namespaces.add("two")})
    assert await until_one_returns(served, ["two", "three"], clock) == "two"  # type: ignore[arg-type] # a stand-in by shape
    assert clock.slept == 3


def test_kopf_never_gives_up_a_refused_watch() -> None:
    pauses = list(islice(EndlessBackoff(), 1000))
    assert pauses[:3] == [1, 2, 4]
    assert set(pauses[10:]) == {20}
    assert not hasattr(EndlessBackoff(), "__len__")
