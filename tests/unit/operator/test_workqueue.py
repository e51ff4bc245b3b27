"""The queue of keys to reconcile."""

import asyncio
import logging
from collections import Counter

import pytest
import uvloop

from diffusion_operator.kube import workqueue
from diffusion_operator.kube.workqueue import Retry, WorkQueue


async def test_a_key_added_many_times_while_it_waits_is_worked_on_once() -> None:
    calls: Counter[str] = Counter()
    done = asyncio.Event()

    async def work(key: str) -> None:
        calls[key] += 1
        if key == "last":
            done.set()

    queue: WorkQueue[str] = WorkQueue(work, workers=1)
    for _ in range(5):
        queue.add("a")
    queue.add("last")
    queue.start()
    await asyncio.wait_for(done.wait(), 5)
    await queue.stop()
    assert calls == {"a": 1, "last": 1}


async def test_a_key_added_while_it_is_worked_on_is_worked_on_again_but_never_twice_at_once() -> (
    None
):
    running, most, calls = 0, 0, 0
    started, go_on, twice = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(_: str) -> None:
        nonlocal running, most, calls
        running += 1
        calls += 1
        most = max(most, running)
        started.set()
        await go_on.wait()
        running -= 1
        if calls == 2:
            twice.set()

    queue: WorkQueue[str] = WorkQueue(work, workers=4)
    queue.start()
    queue.add("a")
    await asyncio.wait_for(started.wait(), 5)
    queue.add("a")
    queue.add("a")
    go_on.set()
    await asyncio.wait_for(twice.wait(), 5)
    await queue.stop()
    assert (most, calls) == (1, 2)


async def test_a_failing_key_is_tried_again_and_holds_up_no_other() -> None:
    order: list[str] = []
    done = asyncio.Event()

    async def work(key: str) -> None:
        order.append(key)
        if key == "bad" and order.count("bad") < 3:
            raise RuntimeError("not yet")
        if order.count("bad") == 3:
            done.set()

    queue: WorkQueue[str] = WorkQueue(work, workers=1)
    queue.start()
    queue.add("bad")
    queue.add("good")
    await asyncio.wait_for(done.wait(), 10)
    await queue.stop()
    assert order[:2] == ["bad", "good"]


async def test_work_that_asks_to_be_called_later_is_called_again() -> None:
    calls = 0
    done = asyncio.Event()

    async def work(_: str) -> float | None:
        nonlocal calls
        calls += 1
        if calls == 2:
            done.set()
            return None
        return 0.01

    queue: WorkQueue[str] = WorkQueue(work)
    queue.start()
    queue.add("a")
    await asyncio.wait_for(done.wait(), 5)
    await queue.stop()
    assert calls == 2


async def test_work_with_a_time_for_its_retry_runs_no_sooner() -> None:
    times: list[float] = []
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def work(_: str) -> None:
        times.append(loop.time())
        if len(times) == 1:
            raise Retry("429", after=0.5)
        done.set()

    queue: WorkQueue[str] = WorkQueue(work)
    queue.start()
    queue.add("a")
    await asyncio.wait_for(done.wait(), 5)
    await queue.stop()
    assert times[1] - times[0] >= 0.5


async def test_a_time_for_the_retry_holds_against_every_other_event() -> None:
    times: list[float] = []
    started, done = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def work(_: str) -> None:
        times.append(loop.time())
        started.set()
        if len(times) == 1:
            queue.add("a")  # an event while the write is under way
            raise Retry("429", after=0.5)
        done.set()

    queue: WorkQueue[str] = WorkQueue(work)
    queue.start()
    queue.add("a")
    await asyncio.wait_for(started.wait(), 5)
    queue.add("a")
    queue.add_later("a", 0.01)
    await asyncio.wait_for(done.wait(), 5)
    assert times[1] - times[0] >= 0.49
    done.clear()
    queue.add("a")  # a success ends it
    await asyncio.wait_for(done.wait(), 0.4)
    await queue.stop()


async def test_a_worker_that_dies_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    failed = asyncio.Event()

    async def work(_: str) -> None:
        raise asyncio.CancelledError  # no Exception, which would be retried

    queue: WorkQueue[str] = WorkQueue(work, workers=2, on_failure=failed.set)
    queue.start()
    queue.add("a")
    await asyncio.wait_for(failed.wait(), 5)
    assert "a worker of the queue has ended" in caplog.text
    failed.clear()
    await queue.stop()
    assert not failed.is_set()


async def test_failures_that_pass_are_a_warning_only_if_they_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workqueue, "FIRST_RETRY_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    done = asyncio.Event()

    async def work(_: str) -> None:
        if len(caplog.records) == 9:
            done.set()
            return
        raise Retry("cannot find RESTMapping", passes=True)

    queue: WorkQueue[str] = WorkQueue(work)
    queue.start()
    queue.add("a")
    await asyncio.wait_for(done.wait(), 5)
    await queue.stop()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["INFO"] * 7 + ["WARNING"] * 2


async def test_a_burst_of_delayed_adds_is_one_call_and_new_keys_go_before_it() -> None:
    calls: list[str] = []
    done = asyncio.Event()

    async def work(key: str) -> None:
        calls.append(key)
        if key == "last":
            done.set()

    queue: WorkQueue[str] = WorkQueue(work, workers=1)
    queue.start()
    for _ in range(5):
        queue.add_later("burst", 0.01)
    queue.add_later("last", 0.05)
    queue.add("new")
    await asyncio.wait_for(done.wait(), 5)
    await queue.stop()
    assert calls == ["new", "burst", "last"]


def test_a_delayed_add_that_is_due_at_once_may_be_followed_by_another() -> None:
    async def twice() -> None:
        done = asyncio.Event()

        async def work(_: str) -> None:
            done.set()

        queue: WorkQueue[str] = WorkQueue(work)
        queue.start()
        queue.add_later("a", 0.0001)
        queue.add_later("a", 0.1)
        await asyncio.wait_for(done.wait(), 5)
        await queue.stop()

    uvloop.run(twice())  # the operator's own event loop
