"""Ray Serve with its own batching, as its documentation shows it."""

import argparse
import signal
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from peers import drawing


@serve.deployment(max_ongoing_requests=8 * drawing.BATCH)
class Drawing:
    def __init__(self, path: str, stand_in: float | None) -> None:
        self._draw = drawing.load(path, stand_in)

    @serve.batch(max_batch_size=drawing.BATCH, batch_wait_timeout_s=0.05)
    async def draw(self, batch: list[dict[str, Any]]) -> list[dict[str, str]]:
        images = self._draw([one["prompt"] for one in batch], [one["seed"] for one in batch])
        return [drawing.answer(image) for image in images]

    async def __call__(self, request: Request) -> Any:
        return await self.draw(await request.json())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="")
    parser.add_argument("--stand-in", type=float)
    parser.add_argument("--port", type=int, required=True)
    flags = parser.parse_args()
    ray.init(include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": flags.port})
    application: Any = Drawing
    serve.run(application.bind(flags.model, flags.stand_in), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
