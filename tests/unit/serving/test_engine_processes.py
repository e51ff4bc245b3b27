"""Parts of the engine processes: cancellations, devices, errors, shares of the queue."""

import pickle
from multiprocessing import Pipe
from typing import Any

import pytest

from diffusion_serving.backends.litserve import make_apis
from diffusion_serving.backends.litserve.client import retry_after
from diffusion_serving.backends.litserve.worker import EngineAPI, FrameworkAPI
from diffusion_serving.engine.errors import (
    DeadlineExceeded,
    EngineFailed,
    EngineSilent,
    NotReady,
    QueueFull,
    RequestError,
)
from diffusion_serving.engine_process.cancellations import Cancellations
from diffusion_serving.engine_process.launcher import share
from diffusion_serving.engine_process.worker import visible_device
from diffusion_serving.observability.startup_errors import (
    EngineHung,
    ModelLoadFailed,
    StartupError,
    WorkerLost,
)


def test_cancellation_is_known_whether_it_comes_before_its_command_or_after() -> None:
    cancellations = Cancellations()
    assert cancellations.add(3)
    assert [cancellations.take(number) for number in (1, 2, 3)] == [False, False, True]
    assert not cancellations.add(2)
    assert not cancellations.take(4)


def test_cancellations_that_another_worker_took_are_forgotten() -> None:
    cancellations = Cancellations()
    for number in range(100):
        cancellations.add(number)
    assert not cancellations.take(100)
    assert not cancellations._early


@pytest.mark.parametrize(
    ("visible", "index", "device"),
    [(None, 0, "0"), (None, 3, "3"), ("", 1, "1"), ("4,7", 1, "7"), ("GPU-a,GPU-b", 0, "GPU-a")],
)
def test_each_worker_sees_one_of_the_visible_devices(
    visible: str | None, index: int, device: str
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert visible_device(environ, index) == device


def test_retry_after_is_the_time_for_half_of_the_queue() -> None:
    assert retry_after(64, 8, 2.0) == 8
    assert retry_after(1, 8, 0.1) == 1


@pytest.mark.parametrize(
    "error",
    [
        QueueFull(64, 3),
        DeadlineExceeded(1.5),
        EngineSilent(1.5),
        EngineFailed("abc"),
        EngineFailed("abc", "The weights hold infinities."),
        NotReady("why"),
        ModelLoadFailed("why"),
        WorkerLost(-9),
        EngineHung("did not answer for 20 s"),
    ],
)
def test_errors_survive_the_way_to_another_process(error: RequestError | StartupError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_engines_share_the_queue_between_devices(configured: Any) -> None:
    config = configured(
        device="cuda", devices=3, queue={"maxLength": 64, "timeoutSeconds": 5}
    ).config
    assert share(config).queue.max_length == 22
    apis = make_apis(config, [Pipe()[0] for _ in range(3)])
    assert [type(api) for api in apis] == [EngineAPI] * 3
    assert {(api.enable_async, api.max_batch_size) for api in apis} == {(True, 1)}
    assert len({api.api_path for api in apis}) == 3


@pytest.mark.parametrize(("milliseconds", "timeout"), [(0, 0.01), (50, 0.05)])
def test_frameworks_own_batching_is_set_as_its_documentation_says(
    configured: Any, milliseconds: int, timeout: float
) -> None:
    batching = {"mode": "framework", "maxSize": 5, "maxWaitMilliseconds": milliseconds}
    config = configured(backend="litserve", batching=batching).config
    (api,) = make_apis(config, [Pipe()[0]])
    assert isinstance(api, FrameworkAPI)
    assert (api.max_batch_size, api.batch_timeout, api.enable_async) == (5, timeout, False)
