"""Pools and queues of workers, LitServe's included, without worker processes."""

import asyncio
import io
import time
from dataclasses import replace
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from diffusion_serving.backends.litserve.client import BoundedEnginePool
from diffusion_serving.documents.serving_config import Batching, Queue
from diffusion_serving.engine import Result, Startup, State
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine.errors import (
    DeadlineExceeded,
    EngineFailed,
    NotReady,
    QueueFull,
)
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine_process.clients import EnginePool, EngineProcessPool, WorkerQueue
from diffusion_serving.engine_process.link import Link, LogLine
from diffusion_serving.engine_process.messages import (
    Cancel,
    CollectMetrics,
    Failed,
    Finished,
    Generate,
    Listening,
    MetricsCollected,
    Ready,
    Started,
    StepDone,
    StepsEnded,
    WorkerCommand,
    WorkerEvent,
    WorkerLink,
)
from diffusion_serving.engine_process.worker_pool import WorkerPool
from diffusion_serving.observability.metrics import make_metrics
from diffusion_serving.observability.startup_errors import ModelLoadFailed, WorkerLost
from waiting import settled

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = ModelInfo("cpu", "fake", "float32", (128, 96), Startup(0.0, 0.0, 0.0, ()))


def image_request(prompt: str = "x", seed: int = 1) -> ImageRequest:
    return ImageRequest(prompt, "", 2, 1.0, 64, 64, (seed,))


def result(seconds: float = 0.1) -> Result:
    return Result((), 0.0, 0.0, seconds, 0.0)


class Worker:
    """The far end of a link, with the exit code and the join of a process."""

    def __init__(self) -> None:
        ours, theirs = Pipe()
        self.near = WorkerLink(ours)
        self.far: Link[WorkerEvent, WorkerCommand] = Link(theirs)
        self._theirs = theirs
        self.exitcode: int | None = None
        self.commands: Iterator[WorkerCommand] = self.far.messages()
        self.received: list[WorkerCommand] = []

    def next(self) -> WorkerCommand:
        return next(self.commands)

    def die(self, code: int) -> None:
        self.exitcode = code
        self._theirs.close()

    def join(self, timeout: float) -> None:
        """Returns at once."""

    def kill(self) -> None:
        self.die(-9)


class Carrier:
    """LitServe's queue: holds each command until the test answers it."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.commands: list[Generate] = []

    async def __call__(self, command: Generate) -> Any:
        self.commands.append(command)
        self.waiting[command.number] = asyncio.get_running_loop().create_future()
        return await self.waiting[command.number]

    def answer(self, number: int, outcome: Any) -> None:
        self.waiting[number].set_result(outcome)


async def ready(pool: EnginePool, *workers: Worker) -> None:
    pool.workers.listen(list(workers))
    for worker in workers:
        worker.far.send(Listening())
        worker.far.send(Ready(MODEL))
    await settled(lambda: pool.state is State.READY)


async def test_pool_is_ready_when_every_worker_is() -> None:
    workers = [Worker(), Worker()]
    pool = WorkerPool([worker.near for worker in workers], lambda _: None)
    pool.listen(workers)
    assert (pool.state, pool.model) == (State.LOADING, None)
    workers[0].far.send(Ready(MODEL))
    workers[1].far.send(Ready(MODEL))
    await settled(lambda: pool.state is State.READY)
    assert pool.model == MODEL
    assert pool.ready.result(0) is None


async def test_worker_that_cannot_load_fails_the_pool_with_its_reason() -> None:
    worker = Worker()
    pool = WorkerPool([worker.near], lambda _: None)
    pool.listen([worker])
    worker.far.send(Failed(ModelLoadFailed("no such directory")))
    worker.die(1)
    await settled(pool.ready.done)
    assert isinstance(pool.ready.exception(), ModelLoadFailed)
    assert pool.state is State.FAILED
    assert not pool.ended.done()


async def test_worker_that_dies_later_ends_the_pool_and_its_requests() -> None:
    worker, carrier = Worker(), Carrier()
    pool = EnginePool([WorkerQueue(carrier, [worker.near])])
    await ready(pool, worker)
    running = asyncio.ensure_future(pool.run(image_request()))
    await settled(lambda: carrier.commands)
    worker.die(-9)
    with pytest.raises(NotReady, match="engine"):
        await running
    assert isinstance(pool.workers.ended.exception(10), WorkerLost)
    assert (pool.state, pool.alive) == (State.FAILED, False)
    with pytest.raises(NotReady):
        await pool.run(image_request())
    carrier.answer(0, NotReady("too late"))


async def test_pool_asks_its_workers_for_their_metrics() -> None:
    workers = [Worker(), Worker()]
    pool = WorkerPool([worker.near for worker in workers], lambda _: None)
    pool.listen(workers)
    assert await pool.metrics() == []
    for worker in workers:
        worker.far.send(Listening())
    await settled(lambda: len(pool._metrics) == 2)
    metrics = asyncio.ensure_future(pool.metrics())
    for images, worker in enumerate(workers):
        command = await asyncio.to_thread(worker.next)
        assert isinstance(command, CollectMetrics)
        registry = CollectorRegistry()
        Counter("images", "Finished.", registry=registry).inc(images)
        worker.far.send(MetricsCollected(command.query, tuple(registry.collect())))
    # The answers of two links come in any order.
    assert sorted(family.samples[0].value for family in await metrics) == [0, 1]


async def two_queues() -> tuple[EnginePool, list[Carrier]]:
    """A ready pool of two queues, and the carrier of each."""
    workers, carriers = [Worker(), Worker()], [Carrier(), Carrier()]
    queues = [
        WorkerQueue(carrier, [worker.near])
        for carrier, worker in zip(carriers, workers, strict=True)
    ]
    pool = EnginePool(queues)
    await ready(pool, *workers)
    return pool, carriers


async def test_request_goes_to_the_worker_queue_with_the_fewest_in_flight() -> None:
    pool, carriers = await two_queues()
    calls = [asyncio.ensure_future(pool.run(image_request())) for _ in range(3)]
    await settled(lambda: sum(len(carrier.commands) for carrier in carriers) == 3)
    assert [[t.number for t in carrier.commands] for carrier in carriers] == [[0, 2], [1]]
    for number in (0, 2):
        carriers[0].answer(number, result())
    carriers[1].answer(1, EngineFailed("abc"))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[0] == outcomes[2] == result()
    assert isinstance(outcomes[1], EngineFailed)


async def test_one_large_request_is_as_much_as_many_small_ones_for_the_choice_of_a_device() -> None:
    pool, carriers = await two_queues()
    small = image_request()
    requests = [replace(small, steps=3 * small.steps), small, small, small, small]
    calls = [asyncio.ensure_future(pool.run(request)) for request in requests]
    await settled(lambda: sum(len(carrier.commands) for carrier in carriers) == len(calls))
    assert [[t.number for t in carrier.commands] for carrier in carriers] == [[0, 4], [1, 2, 3]]
    for carrier in carriers:
        for command in carrier.commands:
            carrier.answer(command.number, result())
    await asyncio.gather(*calls)


async def test_steps_are_sent_only_for_requests_that_want_them() -> None:
    worker, carrier = Worker(), Carrier()
    pool = EnginePool([WorkerQueue(carrier, [worker.near])])
    await ready(pool, worker)
    steps: list[tuple[int, int]] = []
    calls = [
        asyncio.ensure_future(pool.run(image_request(), lambda *step: steps.append(step))),
        asyncio.ensure_future(pool.run(image_request())),
    ]
    await settled(lambda: len(carrier.commands) == 2)
    assert [command.wants_steps for command in carrier.commands] == [True, False]
    for step in (1, 2):
        worker.far.send(StepDone(0, step, 2))
    await settled(lambda: steps == [(1, 2), (2, 2)])
    worker.far.send(StepsEnded(0))
    for number in (0, 1):
        carrier.answer(number, result())
    await asyncio.gather(*calls)


async def test_an_image_that_overtakes_its_last_step_waits_for_it() -> None:
    worker, carrier = Worker(), Carrier()
    pool = EnginePool([WorkerQueue(carrier, [worker.near])])
    await ready(pool, worker)
    steps: list[int] = []
    call = asyncio.ensure_future(pool.run(image_request(), lambda step, _: steps.append(step)))
    await settled(lambda: carrier.commands)
    carrier.answer(0, result())
    worker.far.send(StepDone(0, 1, 2))
    await settled(lambda: steps == [1])
    assert not call.done()
    worker.far.send(StepDone(0, 2, 2))
    worker.far.send(StepsEnded(0))
    assert await call == result()
    assert steps == [1, 2]


async def test_an_image_without_its_last_step_is_lost_with_its_worker() -> None:
    worker, carrier = Worker(), Carrier()
    pool = EnginePool([WorkerQueue(carrier, [worker.near])])
    await ready(pool, worker)
    call = asyncio.ensure_future(pool.run(image_request(), lambda *_: None))
    await settled(lambda: carrier.commands)
    carrier.answer(0, result())
    worker.die(-9)
    with pytest.raises(NotReady):
        await call


async def test_request_of_a_client_that_leaves_is_cancelled_and_its_place_is_freed() -> None:
    worker, carrier = Worker(), Carrier()
    pool = EnginePool([WorkerQueue(carrier, [worker.near])])
    await ready(pool, worker)
    call = asyncio.ensure_future(pool.run(image_request()))
    await settled(lambda: carrier.commands)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.to_thread(worker.next) == Cancel(0)
    assert pool._in_flight
    carrier.answer(0, NotReady("nobody waits"))
    await settled(lambda: not pool._in_flight)


async def test_worker_without_a_framework_gets_its_commands_over_the_link() -> None:
    worker, output = Worker(), io.StringIO()
    pool = EngineProcessPool([worker.near], output)
    await ready(pool, worker)
    calls = [asyncio.ensure_future(pool.run(image_request(seed=seed))) for seed in (1, 2)]
    commands = [await asyncio.to_thread(worker.next) for _ in calls]
    assert [
        (type(command), command.request.seeds)
        for command in commands
        if isinstance(command, Generate)
    ] == [
        (Generate, (1,)),
        (Generate, (2,)),
    ]
    worker.far.send(LogLine("a line of its log\n"))
    worker.far.send(Finished(1, EngineFailed("abc")))
    worker.far.send(Finished(0, result()))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[0] == result()
    assert isinstance(outcomes[1], EngineFailed)
    assert output.getvalue() == "a line of its log\n"
    assert not pool._outcomes


def queueing(worker: Worker, carrier: Carrier, **queue: Any) -> Any:
    metrics = make_metrics()
    queues = [WorkerQueue(carrier, [worker.near])]
    pool = BoundedEnginePool(queues, Queue(**queue), Batching(mode="framework"), metrics)

    def sample(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(name, labels) or 0.0

    return pool, sample


async def test_frameworks_queue_is_bounded_by_the_requests_that_have_not_started() -> None:
    worker, carrier = Worker(), Carrier()
    pool, sample = queueing(worker, carrier, max_length=2)
    await ready(pool, worker)
    calls = [asyncio.ensure_future(pool.run(image_request())) for _ in range(2)]
    await settled(lambda: len(carrier.commands) == 2)
    with pytest.raises(QueueFull, match="2 places") as refused:
        await pool.run(image_request())
    assert refused.value.retry_after == 1
    assert sample("diffusion_queue_length") == 2
    worker.far.send(Started([0, 1]))
    await settled(lambda: pool.queue_length == 0)
    calls.append(asyncio.ensure_future(pool.run(image_request())))
    await settled(lambda: len(carrier.commands) == 3)
    for number in range(3):
        carrier.answer(number, result())
    assert await asyncio.gather(*calls) == [result()] * 3


async def test_frameworks_queue_has_a_deadline_until_the_batch_starts() -> None:
    worker, carrier = Worker(), Carrier()
    pool, sample = queueing(worker, carrier, timeout_seconds=0.5)
    await ready(pool, worker)
    with pytest.raises(DeadlineExceeded):
        await pool.run(image_request())
    assert await asyncio.to_thread(worker.next) == Cancel(0)
    assert pool.queue_length == 0
    call = asyncio.ensure_future(pool.run(image_request()))
    worker.far.send(Started([1]))
    begin = time.monotonic()
    await settled(lambda: time.monotonic() - begin > 1.0)
    carrier.answer(0, NotReady("nobody waits"))
    carrier.answer(1, result())
    assert await call == result()
    assert sample("diffusion_rejected_total", reason="hang_up") == 0


async def test_hang_up_in_the_frameworks_queue_counts_only_before_the_batch_starts() -> None:
    worker, carrier = Worker(), Carrier()
    pool, sample = queueing(worker, carrier)
    await ready(pool, worker)
    calls = [asyncio.ensure_future(pool.run(image_request())) for _ in range(2)]
    await settled(lambda: len(carrier.commands) == 2)
    worker.far.send(Started([0]))
    await settled(lambda: pool.queue_length == 1)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert sample("diffusion_rejected_total", reason="hang_up") == 1
    for number in (0, 1):
        carrier.answer(number, NotReady("nobody waits"))
