"""LitServe with its own batching, as its documentation shows it."""

import argparse
from typing import Any

import litserve  # type: ignore[import-untyped] # litserve has no annotations

from peers import drawing


class API(litserve.LitAPI):  # type: ignore[misc] # same
    def __init__(self, path: str, stand_in: float | None, **options: Any) -> None:
        super().__init__(**options)
        self._path, self._stand_in = path, stand_in

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's own signature
        self._draw = drawing.load(self._path, self._stand_in)

    def decode_request(self, request: dict[str, Any]) -> tuple[str, int]:
        return request["prompt"], request["seed"]

    def predict(self, batch: list[tuple[str, int]]) -> list[Any]:
        return self._draw([prompt for prompt, _ in batch], [seed for _, seed in batch])

    def encode_response(self, image: Any) -> dict[str, str]:
        return drawing.answer(image)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="")
    parser.add_argument("--stand-in", type=float)
    parser.add_argument("--port", type=int, required=True)
    flags = parser.parse_args()
    api = API(flags.model, flags.stand_in, max_batch_size=drawing.BATCH, batch_timeout=0.05)
    server = litserve.LitServer(api, accelerator="cpu", timeout=False)
    server.run(host="127.0.0.1", port=flags.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
