"""The batches of LitServe and of Ray Serve, on a pipeline that needs no model."""

import asyncio
import time
from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any

import pytest

from diffusion_serving.backends.litserve.worker import FrameworkAPI
from diffusion_serving.backends.rayserve.framework_batching import FrameworkBatchingClient
from diffusion_serving.engine import BatchRunner, Result, State, start_runner
from diffusion_serving.engine.errors import EngineFailed, NotReady, PicturesBlocked
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine_process.cancellations import Cancellations
from diffusion_serving.engine_process.link import Link
from diffusion_serving.engine_process.messages import (
    Generate,
    Started,
    WorkerCommand,
    WorkerEvent,
)
from diffusion_serving.observability.device_calls import DeviceCalls
from diffusion_serving.observability.metrics import Metrics, make_metrics
from verdicts import BLUE, RED, RedChecker
from waiting import settled


def image_request(prompt: str = "x", seed: int = 1) -> ImageRequest:
    return ImageRequest(prompt, "", 2, 1.0, 64, 64, (seed,))


@pytest.fixture
def metrics() -> Metrics:
    return make_metrics()


def started(pipeline: Any, metrics: Metrics, *, blur: bool = False) -> BatchRunner:
    return start_runner(
        lambda: pipeline,
        lambda _: image_request("warm-up"),
        max_images=8,
        metrics=metrics,
        blur=blur,
    )


class LitServe:
    """LitServe's own batching: its hooks, and the events of its worker."""

    def __init__(self, config: Any, runner: BatchRunner, metrics: Metrics) -> None:
        near, far = Pipe()
        self.events: Link[WorkerCommand, WorkerEvent] = Link(near)
        self.cancellations = Cancellations()
        self.api = FrameworkAPI(config, [], max_batch_size=8, batch_timeout=0.001)
        self.api._worker = SimpleNamespace(  # type: ignore[assignment] # a worker without its process
            link=Link(far),
            metrics=metrics,
            cancellations=self.cancellations,
            step_listener=lambda _: None,
            end_steps=lambda _: None,
        )
        self.api._runner = runner

    def predict(self, *requests: ImageRequest, waited: float = 0.0) -> Any:
        submitted = time.monotonic() - waited
        return self.api.predict(
            [
                Generate(number, submitted, request, wants_steps=False)
                for number, request in enumerate(requests)
            ]
        )


@pytest.fixture
def framework(configured: Any) -> Any:
    """The configuration of a service with LitServe's own batching."""
    return configured(backend="litserve", batching={"mode": "framework"}).config


def test_batch_of_litserve_leaves_out_cancelled_requests(
    pipeline: Any, framework: Any, metrics: Metrics
) -> None:
    litserve = LitServe(framework, started(pipeline, metrics), metrics)
    pipeline.failures["bad"] = ValueError("a secret wish")
    requests = [image_request("a"), image_request("left"), image_request("bad"), image_request("b")]
    litserve.cancellations.add(1)
    outcomes = litserve.predict(*requests, waited=1.0)
    assert isinstance(outcomes, list)
    assert [type(outcome) for outcome in outcomes] == [Result, NotReady, EngineFailed, Result]
    assert outcomes[0].queue_seconds >= 1.0
    assert "left" not in pipeline.prompts
    assert next(litserve.events.messages()) == Started([0, 2, 3])
    assert metrics.registry.get_sample_value("diffusion_queue_seconds_count") == 3
    alone = Generate(9, 0.0, image_request(), wants_steps=False)
    assert isinstance(litserve.api.predict(alone), Result)


@pytest.mark.parametrize("blur", [False, True])
def test_batch_of_litserve_has_mixed_verdicts(
    pipeline: Any, framework: Any, metrics: Metrics, *, blur: bool
) -> None:
    pipeline.checker = RedChecker()
    litserve = LitServe(framework, started(pipeline, metrics, blur=blur), metrics)
    one, blocked, other = litserve.predict(
        *(image_request("x", seed) for seed in (BLUE, RED, BLUE))
    )
    assert [one.blocked, other.blocked] == [(), ()]
    assert blocked.blocked == (0,) if blur else isinstance(blocked, PicturesBlocked)


@pytest.fixture
def replica_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context in which Serve's batching runs, as of a replica without a limit of its own."""
    deployment = SimpleNamespace(max_ongoing_requests=1000)
    context = SimpleNamespace(_deployment_config=deployment)
    monkeypatch.setattr("ray.serve.get_replica_context", lambda: context)


@pytest.mark.usefixtures("replica_context")
@pytest.mark.parametrize("blur", [False, True])
async def test_batch_of_ray_serve_has_mixed_verdicts(
    pipeline: Any, configured: Any, metrics: Metrics, *, blur: bool
) -> None:
    pipeline.checker = RedChecker()
    batching = {"mode": "framework", "maxWaitMilliseconds": 100}
    config = configured(backend="rayserve", batching=batching).config
    client = FrameworkBatchingClient(
        config, metrics, lambda: started(pipeline, metrics, blur=blur), DeviceCalls()
    )
    client.start()
    await settled(lambda: client.state is State.READY)
    seeds = (BLUE, RED, BLUE)
    sent = [asyncio.ensure_future(client.run(image_request("x", seed))) for seed in seeds]
    one, blocked, other = await asyncio.gather(*sent, return_exceptions=True)
    assert isinstance(one, Result)
    assert isinstance(other, Result)
    if blur:
        assert isinstance(blocked, Result)
        assert blocked.blocked == (0,)
    else:
        assert isinstance(blocked, PicturesBlocked)
