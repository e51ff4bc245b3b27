"""Requests of an engine: order, batches, cancellation, deadlines, failures."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from diffusion_serving.engine import Batching, Engine, QueuedRequest, State
from diffusion_serving.engine.errors import DeadlineExceeded, EngineFailed, NotReady, QueueFull
from diffusion_serving.observability.startup_errors import DeviceLost
from image_requests import image_request


def occupy(engine: Engine, pipeline: Any) -> QueuedRequest:
    """Keeps the engine busy until `pipeline.release()`."""
    pipeline.hold()
    request = engine.submit(image_request("first"))
    assert pipeline.entered.acquire(timeout=60)
    return request


def test_without_batching_requests_run_one_at_a_time_in_the_order_of_arrival(
    make: Any, pipeline: Any
) -> None:
    engine = make(batching=Batching(one_request=True))
    occupy(engine, pipeline)
    requests = [engine.submit(image_request(f"p{i}")) for i in range(20)]
    pipeline.release()
    for request in requests:
        request.future.result(60)
    assert pipeline.prompts == ["first", *(f"p{i}" for i in range(20))]
    assert all(len(batch) == 1 for batch in pipeline.batches)


def test_every_call_of_the_pipeline_is_on_one_thread(make: Any, pipeline: Any) -> None:
    engine = make()
    callers = [
        threading.Thread(target=lambda: engine.submit(image_request("x")).future.result(60))
        for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert len(pipeline.prompts) == 8
    assert len(pipeline.threads) == 1


def test_each_request_gets_its_own_pictures(make: Any) -> None:
    engine = make()
    requests = {seed: engine.submit(image_request("x", seed, seed + 1)) for seed in range(0, 40, 2)}
    for seed, request in requests.items():
        first, second = request.future.result(60).pictures
        assert (first.rgb[2], second.rgb[2]) == (seed, seed + 1)


def test_full_queue_refuses_and_says_when_to_retry(make: Any, pipeline: Any) -> None:
    engine = make(max_queue=3)
    occupy(engine, pipeline)
    waiting = [engine.submit(image_request("x")) for _ in range(3)]
    with pytest.raises(QueueFull) as refused:
        engine.submit(image_request("one too many"))
    assert refused.value.retry_after >= 1
    assert engine.queue_length == 3
    pipeline.release()
    for request in waiting:
        request.future.result(60)
    assert "one too many" not in pipeline.prompts


def test_cancelled_request_frees_its_place_and_never_runs(make: Any, pipeline: Any) -> None:
    engine = make(max_queue=1)
    occupy(engine, pipeline)
    request = engine.submit(image_request("left"))
    assert engine.cancel(request)
    assert not engine.cancel(request)
    stayed = engine.submit(image_request("stayed"))
    pipeline.release()
    stayed.future.result(60)
    assert pipeline.prompts == ["first", "stayed"]
    assert request.future.cancelled()


def test_running_request_can_be_neither_cancelled_nor_expired(make: Any, pipeline: Any) -> None:
    engine = make()
    request = occupy(engine, pipeline)
    assert not engine.cancel(request)
    assert not engine.expire(request)
    assert not request.future.cancel()
    pipeline.release()
    assert request.future.result(60).pictures


def test_request_of_a_cancelled_future_is_dropped_and_the_next_one_runs(
    make: Any, pipeline: Any
) -> None:
    engine = make()
    occupy(engine, pipeline)
    dropped, kept = engine.submit(image_request("dropped")), engine.submit(image_request("kept"))
    dropped.future.cancel()
    pipeline.release()
    kept.future.result(60)
    assert pipeline.prompts == ["first", "kept"]


def test_request_that_waits_past_its_deadline_fails_and_does_not_run(
    make: Any, pipeline: Any
) -> None:
    engine = make(queue_timeout=0.5)
    occupy(engine, pipeline)
    late = engine.submit(image_request("late"))
    while time.monotonic() <= late.deadline:
        time.sleep(0.005)
    pipeline.release()
    with pytest.raises(DeadlineExceeded, match=r"0\.5 s"):
        late.future.result(60)
    assert "late" not in pipeline.prompts


def test_expired_requests_make_room_for_new_ones(make: Any, pipeline: Any) -> None:
    engine = make(max_queue=1, queue_timeout=0.5)
    occupy(engine, pipeline)
    late = engine.submit(image_request("late"))
    while time.monotonic() <= late.deadline:
        time.sleep(0.005)
    engine.submit(image_request("next"))
    assert isinstance(late.future.exception(0), DeadlineExceeded)


def test_expire_fails_a_waiting_request_at_once(make: Any, pipeline: Any) -> None:
    engine = make()
    occupy(engine, pipeline)
    request = engine.submit(image_request("x"))
    assert engine.expire(request)
    assert isinstance(request.future.exception(0), DeadlineExceeded)
    assert engine.queue_length == 0


def test_failing_request_fails_alone_and_its_prompt_is_not_logged(
    make: Any, pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make()
    occupy(engine, pipeline)
    pipeline.failures["a secret wish"] = ValueError("cannot draw a secret wish")
    good = [engine.submit(image_request("good", seed)) for seed in range(3)]
    bad = engine.submit(image_request("a secret wish"))
    pipeline.release()
    with pytest.raises(EngineFailed) as failed:
        bad.future.result(60)
    assert [request.future.result(60).pictures[0].rgb[2] for request in good] == [0, 1, 2]
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert vars(record)["error_id"] == failed.value.error_id
    assert vars(record)["error"] == "ValueError"
    everything = repr([vars(record) for record in caplog.records])
    assert "secret" not in everything + caplog.text + str(failed.value)


def test_tensor_error_is_logged_with_its_message(
    make: Any, pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.failures["x"] = RuntimeError("shapes do not match")
    with pytest.raises(EngineFailed):
        make().submit(image_request("x")).future.result(60)
    assert "shapes do not match" in [vars(r).get("error_message") for r in caplog.records]


def test_output_of_the_wrong_length_fails_the_request_not_the_engine(
    make: Any, pipeline: Any
) -> None:
    engine = make()
    pipeline.surplus = True
    first = engine.submit(image_request("x"))
    with pytest.raises(EngineFailed):
        first.future.result(60)
    pipeline.surplus = False
    assert engine.submit(image_request("y")).future.result(60).pictures


def test_stop_finishes_queued_requests_and_accepts_no_more(make: Any, pipeline: Any) -> None:
    engine = make()
    running = occupy(engine, pipeline)
    waiting = [engine.submit(image_request("x")) for _ in range(3)]
    assert not engine.stop(0.01)
    with pytest.raises(NotReady):
        engine.submit(image_request("too late"))
    pipeline.release()
    assert engine.stop(10)
    assert engine.state is State.STOPPED
    assert all(request.future.result(0).pictures for request in [running, *waiting])


def test_queued_requests_run_together_up_to_the_cap(make: Any, pipeline: Any) -> None:
    engine = make(batching=Batching(max_images=4))
    occupy(engine, pipeline)
    requests = [engine.submit(image_request(f"p{i}", i)) for i in range(6)]
    pipeline.release()
    assert [request.future.result(60).pictures[0].rgb[2] for request in requests] == list(range(6))
    assert [len(batch) for batch in pipeline.batches] == [1, 1, 4, 2]


def test_lone_request_is_not_overtaken_by_a_key_that_never_stops_coming(
    make: Any, pipeline: Any
) -> None:
    engine = make(batching=Batching(max_images=2))
    occupy(engine, pipeline)
    flood = [engine.submit(image_request(f"before-{i}")) for i in range(4)]
    lone = engine.submit(replace(image_request("lone"), steps=9))
    lone.future.add_done_callback(lambda _: pipeline.hold())
    after = [engine.submit(image_request(f"after-{i}")) for i in range(40)]
    pipeline.release()
    lone.future.result(60)
    done = pipeline.prompts
    assert done[: done.index("lone")] == ["first", *(f"before-{i}" for i in range(4))]
    pipeline.release()
    for request in [*flood, *after]:
        request.future.result(60)


def test_batch_waits_to_be_filled_and_then_goes_at_once(make: Any, pipeline: Any) -> None:
    engine = make(batching=Batching(max_images=3, max_wait=600.0))
    requests = [engine.submit(image_request(f"p{i}")) for i in range(2)]
    assert not pipeline.entered.acquire(timeout=0.05)
    requests.append(engine.submit(image_request("p2")))
    for request in requests:
        request.future.result(60)
    assert [len(batch) for batch in pipeline.batches] == [1, 3]


def test_batch_that_is_not_filled_goes_after_its_wait(make: Any, pipeline: Any) -> None:
    engine = make(batching=Batching(max_images=3, max_wait=0.02))
    result = engine.submit(image_request("lonely")).future.result(60)
    assert result.queue_seconds >= 0.02


def test_stop_does_not_wait_for_a_batch_to_be_filled(make: Any) -> None:
    engine = make(batching=Batching(max_images=3, max_wait=600.0))
    request = engine.submit(image_request("x"))
    assert engine.stop(10)
    assert request.future.result(0).pictures
    assert engine.ended.exception(0) is None


def test_steps_are_reported_to_each_request_of_a_batch(make: Any, pipeline: Any) -> None:
    engine = make()
    occupy(engine, pipeline)
    logs: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}
    requests = [
        engine.submit(image_request(name), lambda *step, log=log: log.append(step))
        for name, log in logs.items()
    ]
    requests.append(engine.submit(image_request("nobody listens")))
    pipeline.release()
    for request in requests:
        request.future.result(60)
    assert len(pipeline.batches[-1]) == 3
    assert logs == {name: [(1, 4), (2, 4), (3, 4), (4, 4)] for name in logs}


def test_lost_device_ends_the_engine_with_its_reason_and_leaves_no_request_waiting(
    make: Any, pipeline: Any
) -> None:
    engine = make(batching=Batching(max_images=1))
    pipeline.failures["fatal"] = DeviceLost("unspecified launch failure")
    occupy(engine, pipeline)
    running = engine.submit(image_request("fatal"))
    waiting = [engine.submit(image_request("x")) for _ in range(3)]
    pipeline.release()
    assert isinstance(engine.ended.exception(10), DeviceLost)
    for request in [running, *waiting]:
        assert isinstance(request.future.exception(10), NotReady)
    assert engine.state is State.FAILED
    with pytest.raises(NotReady, match="about to exit"):
        engine.submit(image_request("late"))
    assert engine.stop(10)
    assert not engine.alive


def test_fifty_cancelled_requests_cost_no_call_and_the_others_are_served(
    make: Any, pipeline: Any
) -> None:
    engine = make(max_queue=200)
    occupy(engine, pipeline)
    requests = [engine.submit(image_request(f"p{i}", i)) for i in range(100)]
    for request in requests[::2]:
        assert engine.cancel(request)
    pipeline.release()
    for i, request in enumerate(requests):
        if i % 2:
            assert request.future.result(60).pictures[0].rgb[2] == i
        else:
            assert request.future.cancelled()
    assert sorted(pipeline.prompts) == sorted(["first", *(f"p{i}" for i in range(1, 100, 2))])
