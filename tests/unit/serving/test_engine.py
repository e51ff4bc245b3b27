import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from diffusion_serving.engine import Engine, Job, State
from diffusion_serving.errors import (
    DeadlineExceeded,
    EngineFailed,
    ModelLoadFailed,
    NotReady,
    QueueFull,
    WrongDevice,
)
from diffusion_serving.generation import Generation
from diffusion_serving.metrics import make_metrics

WARM_UP = Generation("warm-up", "", 1, 1.0, 64, 64, (0,))


def wanted(prompt: str, *seeds: int) -> Generation:
    return Generation(prompt, "", 4, 2.0, 64, 64, seeds or (0,))


@pytest.fixture
def make(pipeline: Any, request: pytest.FixtureRequest) -> Callable[..., Engine]:
    """Starts an engine on the fake pipeline, ready and with nothing to do."""

    def build(max_queue: int = 64, queue_timeout: float = 60.0) -> Engine:
        engine = Engine(
            lambda: pipeline,
            lambda _: WARM_UP,
            max_queue=max_queue,
            queue_timeout=queue_timeout,
            metrics=make_metrics(),
        )
        request.addfinalizer(lambda: (pipeline.release(), engine.stop(10)))
        engine.start()
        engine.ready.result(10)
        assert pipeline.entered.acquire(timeout=10)
        return engine

    return build


def occupy(engine: Engine, pipeline: Any) -> Job:
    """Keeps the engine busy until `pipeline.release()`."""
    pipeline.hold()
    job = engine.submit(wanted("first"))
    assert pipeline.entered.acquire(timeout=10)
    return job


def test_jobs_are_done_in_the_order_they_came_one_at_a_time(make: Any, pipeline: Any) -> None:
    engine = make()
    occupy(engine, pipeline)
    jobs = [engine.submit(wanted(f"p{i}")) for i in range(20)]
    pipeline.release()
    for job in jobs:
        job.future.result(10)
    assert pipeline.prompts == ["first", *(f"p{i}" for i in range(20))]
    assert all(len(batch) == 1 for batch in pipeline.batches)


def test_every_call_of_the_pipeline_is_on_one_thread(make: Any, pipeline: Any) -> None:
    engine = make()
    callers = [
        threading.Thread(target=lambda: engine.submit(wanted("x")).future.result(10))
        for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert len(pipeline.prompts) == 8
    assert len(pipeline.threads) == 1


def test_each_job_gets_its_own_pictures(make: Any) -> None:
    engine = make()
    jobs = {seed: engine.submit(wanted("x", seed, seed + 1)) for seed in range(0, 40, 2)}
    for seed, job in jobs.items():
        first, second = job.future.result(10).pictures
        assert (first.rgb[2], second.rgb[2]) == (seed, seed + 1)


def test_full_queue_refuses_and_says_when_to_come_again(make: Any, pipeline: Any) -> None:
    engine = make(max_queue=3)
    occupy(engine, pipeline)
    waiting = [engine.submit(wanted("x")) for _ in range(3)]
    with pytest.raises(QueueFull) as refused:
        engine.submit(wanted("one too many"))
    assert refused.value.retry_after >= 1
    assert engine.queue_length == 3
    pipeline.release()
    for job in waiting:
        job.future.result(10)
    assert "one too many" not in pipeline.prompts


def test_withdrawn_job_frees_its_place_and_is_never_done(make: Any, pipeline: Any) -> None:
    engine = make(max_queue=1)
    occupy(engine, pipeline)
    job = engine.submit(wanted("left"))
    assert engine.withdraw(job)
    assert not engine.withdraw(job)
    stayed = engine.submit(wanted("stayed"))
    pipeline.release()
    stayed.future.result(10)
    assert pipeline.prompts == ["first", "stayed"]
    assert job.future.cancelled()


def test_running_job_cannot_be_withdrawn_expired_or_cancelled(make: Any, pipeline: Any) -> None:
    engine = make()
    job = occupy(engine, pipeline)
    assert not engine.withdraw(job)
    assert not engine.expire(job)
    assert not job.future.cancel()
    pipeline.release()
    assert job.future.result(10).pictures


def test_cancelled_future_is_dropped_and_the_next_job_is_done(make: Any, pipeline: Any) -> None:
    engine = make()
    occupy(engine, pipeline)
    dropped, kept = engine.submit(wanted("dropped")), engine.submit(wanted("kept"))
    dropped.future.cancel()
    pipeline.release()
    kept.future.result(10)
    assert pipeline.prompts == ["first", "kept"]


def test_job_that_waits_past_its_deadline_fails_and_is_not_done(make: Any, pipeline: Any) -> None:
    engine = make(queue_timeout=0.05)
    occupy(engine, pipeline)
    late = engine.submit(wanted("late"))
    while time.monotonic() <= late.deadline:
        time.sleep(0.005)
    pipeline.release()
    with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
        late.future.result(10)
    assert "late" not in pipeline.prompts


def test_expired_jobs_make_room_for_new_ones(make: Any, pipeline: Any) -> None:
    engine = make(max_queue=1, queue_timeout=0.05)
    occupy(engine, pipeline)
    late = engine.submit(wanted("late"))
    while time.monotonic() <= late.deadline:
        time.sleep(0.005)
    engine.submit(wanted("next"))
    assert isinstance(late.future.exception(0), DeadlineExceeded)


def test_expire_fails_a_waiting_job_at_once(make: Any, pipeline: Any) -> None:
    engine = make()
    occupy(engine, pipeline)
    job = engine.submit(wanted("x"))
    assert engine.expire(job)
    assert isinstance(job.future.exception(0), DeadlineExceeded)
    assert engine.queue_length == 0


def test_failing_job_fails_alone_and_its_prompt_is_not_logged(
    make: Any, pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make()
    pipeline.failures["a secret wish"] = ValueError("cannot draw a secret wish")
    bad, good = engine.submit(wanted("a secret wish")), engine.submit(wanted("good"))
    with pytest.raises(EngineFailed) as failed:
        bad.future.result(10)
    assert good.future.result(10).pictures
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert vars(record)["error_id"] == failed.value.error_id
    assert vars(record)["error"] == "ValueError"
    assert "secret" not in repr(vars(record)) + caplog.text + str(failed.value)


def test_tensor_error_is_logged_with_its_message(
    make: Any, pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.failures["x"] = RuntimeError("out of memory")
    with pytest.raises(EngineFailed):
        make().submit(wanted("x")).future.result(10)
    assert "out of memory" in [vars(r).get("error_message") for r in caplog.records]


def test_output_of_the_wrong_length_fails_the_job_not_the_engine(make: Any, pipeline: Any) -> None:
    engine = make()
    pipeline.surplus = True
    first = engine.submit(wanted("x"))
    with pytest.raises(EngineFailed):
        first.future.result(10)
    pipeline.surplus = False
    assert engine.submit(wanted("y")).future.result(10).pictures


def test_stop_finishes_what_waits_and_takes_no_more(make: Any, pipeline: Any) -> None:
    engine = make()
    running = occupy(engine, pipeline)
    waiting = [engine.submit(wanted("x")) for _ in range(3)]
    assert not engine.stop(0.01)
    with pytest.raises(NotReady):
        engine.submit(wanted("too late"))
    pipeline.release()
    assert engine.stop(10)
    assert engine.state is State.STOPPED
    assert all(job.future.result(0).pictures for job in [running, *waiting])


@pytest.mark.parametrize("error", [ModelLoadFailed("no model"), WrongDevice("no cuda")])
def test_failed_load_keeps_its_reason(error: Exception) -> None:
    def load() -> Any:
        raise error

    engine = Engine(load, lambda _: WARM_UP, max_queue=1, queue_timeout=1, metrics=make_metrics())
    engine.start()
    assert engine.ready.exception(10) is error
    assert engine.state is State.FAILED
    with pytest.raises(NotReady):
        engine.submit(wanted("x"))


def test_unexpected_failure_of_the_load_is_a_model_load_failure() -> None:
    def load() -> Any:
        raise KeyError("unet")

    engine = Engine(load, lambda _: WARM_UP, max_queue=1, queue_timeout=1, metrics=make_metrics())
    engine.start()
    error = engine.ready.exception(10)
    assert isinstance(error, ModelLoadFailed)
    assert "KeyError: 'unet'" in str(error)


def test_engine_is_not_ready_before_its_warm_up_image_is_out(pipeline: Any) -> None:
    pipeline.hold()
    engine = Engine(
        lambda: pipeline, lambda _: WARM_UP, max_queue=1, queue_timeout=1, metrics=make_metrics()
    )
    engine.start()
    assert pipeline.entered.acquire(timeout=10)
    assert engine.pipeline is None
    with pytest.raises(NotReady, match="loading"):
        engine.submit(wanted("x"))
    pipeline.release()
    engine.ready.result(10)
    assert engine.state is State.READY
    assert engine.stop(10)


def test_failed_warm_up_is_a_model_load_failure(pipeline: Any) -> None:
    pipeline.failures["warm-up"] = RuntimeError("not finite")
    engine = Engine(
        lambda: pipeline, lambda _: WARM_UP, max_queue=1, queue_timeout=1, metrics=make_metrics()
    )
    engine.start()
    error = engine.ready.exception(10)
    assert isinstance(error, ModelLoadFailed)
    assert "warm-up" in str(error)
    assert "not finite" in str(error)


def test_batch_former_decides_what_is_done_together(pipeline: Any) -> None:
    def same_key(waiting: Any) -> Any:
        return [job for job in waiting if job.generation.key == waiting[0].generation.key]

    engine = Engine(
        lambda: pipeline,
        lambda _: WARM_UP,
        max_queue=64,
        queue_timeout=60,
        metrics=make_metrics(),
        form_batch=same_key,
    )
    engine.start()
    engine.ready.result(10)
    assert pipeline.entered.acquire(timeout=10)
    occupy(engine, pipeline)
    other = Generation("other", "", 5, 2.0, 64, 64, (9,))
    jobs = [engine.submit(g) for g in (wanted("a", 1), other, wanted("b", 2))]
    pipeline.release()
    assert [job.future.result(10).pictures[0].rgb[2] for job in jobs] == [1, 9, 2]
    assert pipeline.prompts == ["first", "a", "b", "other"]
    assert engine.stop(10)
