"""FastAPI as most first versions are written: a sync endpoint that calls the pipeline.

FastAPI runs the endpoint in a pool of threads. The lock is there for correctness: a diffusers
pipeline that threads share returns wrong images.
"""

import argparse
from threading import Lock

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from peers import drawing


class Body(BaseModel):
    prompt: str
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="")
    parser.add_argument("--stand-in", type=float)
    parser.add_argument("--port", type=int, required=True)
    flags = parser.parse_args()
    draw = drawing.load(flags.model, flags.stand_in)
    lock = Lock()
    app = FastAPI()

    @app.post("/predict")
    def predict(body: Body) -> dict[str, str]:
        with lock:
            (image,) = draw([body.prompt], [body.seed])
        return drawing.answer(image)

    uvicorn.run(app, host="127.0.0.1", port=flags.port, log_level="warning")


if __name__ == "__main__":
    main()
