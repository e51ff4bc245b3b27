"""The watchdog's judgement, and what follows for the requests of a worker that hangs."""

import asyncio
import threading
import time
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

import pytest

from diffusion_serving.engine import Result, Startup, State
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine.errors import EngineSilent, NotReady
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine_process.clients import EngineProcessPool
from diffusion_serving.engine_process.link import Link
from diffusion_serving.engine_process.messages import (
    Alive,
    Cancel,
    CheckAlive,
    Generate,
    Listening,
    Ready,
    WorkerCommand,
    WorkerEvent,
    WorkerLink,
)
from diffusion_serving.engine_process.startup import load_runner
from diffusion_serving.engine_process.watchdog import Watchdog
from diffusion_serving.observability.device_calls import DeviceCall, DeviceCalls
from diffusion_serving.observability.metrics import make_metrics
from diffusion_serving.observability.startup_errors import EngineHung
from waiting import settled

if TYPE_CHECKING:
    from diffusion_serving.documents.serving_config import ServingConfig

REQUEST = ImageRequest("x", "", 2, 1.0, 64, 64, (1,))
MODEL = ModelInfo("cpu", "fake", "float32", (128, 96), Startup(0.0, 0.0, 0.0, ()))


def watching(silence: float = 10.0) -> Watchdog:
    dog = Watchdog(silence)
    dog.watch(0)
    dog.tick(0.0)
    return dog


def test_worker_that_leaves_checks_unanswered_for_too_long_hangs() -> None:
    dog = watching(10.0)
    hung = [bool(dog.tick(float(second))) for second in range(1, 13)]
    assert hung == [False] * 10 + [True] * 2


def test_worker_that_answers_does_not_hang() -> None:
    dog = watching(10.0)
    for second in range(1, 60):
        dog.heard(0, None)
        assert not dog.tick(float(second))


def test_pause_of_this_process_itself_is_not_held_against_a_worker() -> None:
    dog = watching(10.0)
    assert not dog.tick(500.0)
    assert not dog.tick(501.0)


def test_worker_that_loads_is_not_watched() -> None:
    dog = Watchdog(10.0)
    assert not [dog.tick(float(second)) for second in range(100) if dog.tick(float(second))]


def test_device_call_past_its_bound_hangs_though_its_worker_answers() -> None:
    dog = watching(10.0)
    call = DeviceCall(began=0.0, bound=30.0)
    hung = []
    for second in range(1, 33):
        dog.heard(0, call)
        hung.append(bool(dog.tick(float(second))))
    assert hung == [False] * 30 + [True] * 2


def test_worker_is_silent_after_two_checks_and_not_before() -> None:
    dog = watching(10.0)
    dog.tick(1.0)
    assert not dog.silent([0])
    dog.tick(2.0)
    dog.tick(3.0)
    assert dog.silent([0])
    assert not dog.silent([0, 1])


class Stopped:
    """A worker whose process runs until it is killed; it answers checks only while it is asked."""

    def __init__(self) -> None:
        ours, self._theirs = Pipe()
        self.near = WorkerLink(ours)
        self.far: Link[WorkerEvent, WorkerCommand] = Link(self._theirs)
        self.exitcode: int | None = None
        self.answers = True
        self.call: DeviceCall | None = None
        self.received: list[WorkerCommand] = []
        self._reading = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for command in self.far.messages():
            if isinstance(command, CheckAlive):
                if self.answers:
                    self.far.send(Alive(self.call))
            else:
                self.received.append(command)

    def kill(self) -> None:
        self.exitcode = -9
        self._theirs.close()

    def join(self, timeout: float) -> None:
        """Returns at once."""


async def pool_of(worker: Stopped, **settings: Any) -> EngineProcessPool:
    pool = EngineProcessPool([worker.near], None, **settings)  # type: ignore[arg-type] # no logs come
    pool.workers.listen([worker])
    worker.far.send(Listening())
    worker.far.send(Ready(MODEL))
    await settled(lambda: pool.state is State.READY)
    return pool


async def test_stopped_engine_fails_the_pool_and_is_killed() -> None:
    worker = Stopped()
    pool = await pool_of(worker, silence=1.0)
    running = asyncio.ensure_future(pool.run(REQUEST))
    await settled(lambda: worker.received)
    worker.answers = False
    with pytest.raises(NotReady):
        await running
    assert isinstance(pool.workers.ended.exception(10), EngineHung)
    assert (pool.state, pool.alive, worker.exitcode) == (State.FAILED, False, -9)


async def test_device_call_without_an_end_fails_the_pool() -> None:
    worker = Stopped()
    pool = await pool_of(worker, silence=1.0)
    worker.call = DeviceCall(began=time.monotonic() - 100.0, bound=50.0)
    with pytest.raises(NotReady):
        await pool.run(REQUEST)
    assert "50 s" in str(pool.workers.ended.exception(10))


async def test_request_in_front_of_a_silent_engine_fails_at_its_deadline() -> None:
    worker = Stopped()
    pool = await pool_of(worker, silence=60.0, queue_timeout=0.2)
    pool.workers._watchdog.tick_seconds = 0.05
    worker.answers = False
    with pytest.raises(EngineSilent):
        await pool.run(REQUEST)
    await settled(lambda: Cancel(0) in worker.received)
    assert pool.alive


async def test_request_that_an_answering_engine_has_started_outlives_its_deadline() -> None:
    worker = Stopped()
    pool = await pool_of(worker, silence=60.0, queue_timeout=0.2)
    begin = time.monotonic()
    running = asyncio.ensure_future(pool.run(REQUEST))
    await settled(lambda: time.monotonic() - begin > 1.5)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


async def test_more_requests_than_a_stopped_engine_reads_do_not_stop_the_event_loop() -> None:
    """A worker that reads nothing lets its connection fill up."""
    ours, theirs = Pipe()
    link = WorkerLink(ours)
    long = Generate(0, 0.0, ImageRequest("x" * 20_000, "", 2, 1.0, 64, 64, (1,)), wants_steps=False)
    begin = time.monotonic()
    for _ in range(100):
        link.send(long)
    assert time.monotonic() - begin < 5.0
    far: Link[WorkerEvent, WorkerCommand] = Link(theirs)
    link.send(Cancel(7))
    received = far.messages()
    assert [next(received) for _ in range(101)] == [long] * 100 + [Cancel(7)]
    theirs.close()
    link.send(Cancel(8))


def test_calls_of_a_loaded_pipeline_are_recorded(pipeline: Any, configured: Any) -> None:
    config: ServingConfig = configured().config
    calls = DeviceCalls()
    runner = load_runner(config, make_metrics(), calls, load=lambda *_: pipeline)
    seen: list[DeviceCall | None] = []
    outcome = runner.run([REQUEST], [lambda *_: seen.append(calls.running)])[0]
    assert isinstance(outcome, Result)
    assert [call is not None for call in seen] == [True, True]
    assert calls.running is None
