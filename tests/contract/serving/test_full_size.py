"""Stable Diffusion 1.4 at its real size, with random weights, on each backend."""

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from diffusion_serving.engine.cpu_cores import available_cores
from lazily import Lazily
from serving_process import SERVING, Server, Variant, configuration, eventually

files: Any = Lazily("safetensors.torch")
random_model: Any = Lazily("diffusion_serving.gpu_check.random_model")

UNET_PARAMETERS = 859_520_964
STEPS, SIDE = 4, 512
SECONDS = 1800.0
SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="module")
def full_size_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of 2 GB in half precision; the fixture removes it afterwards."""
    path = tmp_path_factory.mktemp("full-size")
    random_model.save_random_model(path / "model", "sd14")
    unet = files.load_file(path / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    assert sum(weights.numel() for weights in unet.values()) == UNET_PARAMETERS
    del unet
    yield path / "model"
    shutil.rmtree(path)


def peak_bytes(pid: int) -> int:
    """The peak of the process's resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def serve(model: Path, backend: str, folder: Path) -> Server:
    """A server that counts the U-Net's calls in `folder / "calls"`."""
    environ = configuration(
        model,
        Variant(backend),
        # The warm-up image is discarded, and each of its steps takes long: one step is enough.
        generation={"steps": 1, "guidanceScale": 7.5, "scheduler": "ddim"},
        limits={"maxSteps": 10, "maxPixels": SIDE * SIDE},
        queue={"maxLength": 1, "timeoutSeconds": SECONDS},
    )
    environ |= {
        "PYTHONPATH": os.pathsep.join([str(SERVING), str(SUPPORT)]),
        "OMP_NUM_THREADS": str(available_cores()),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
    }
    return Server(folder, environ, program=("counting_server", str(folder / "calls")))


def shared_calls(server: Server, calls: Path) -> int:
    """The U-Net's calls that two requests share, of which the second comes in mid-image."""
    before = calls.stat().st_size
    body = {"prompt": "a castle", "steps": STEPS, "seed": 2}
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(server.client.post, "/predict", json=body, timeout=SECONDS)
        eventually(lambda: calls.stat().st_size > before, within=SECONDS)
        second = server.client.post("/predict", json={**body, "steps": 3}, timeout=SECONDS)
        assert (first.result().status_code, second.status_code) == (200, 200)
    return STEPS + 3 - (calls.stat().st_size - before)


@pytest.mark.full
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("backend", ["fastapi", "litserve", "rayserve"])
def test_full_size_model_makes_an_image_with_one_call_of_the_unet_a_step(
    backend: str, full_size_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    server = serve(full_size_model, backend, tmp_path)
    try:
        server.ready(SECONDS)
        ready = time.monotonic()
        warm_up = (tmp_path / "calls").stat().st_size
        body = {"prompt": "a castle", "steps": STEPS, "seed": 1}
        answer = server.client.post("/predict", json=body, timeout=SECONDS)
        seconds = time.monotonic() - ready
        calls = (tmp_path / "calls").stat().st_size - warm_up
        shared = shared_calls(server, tmp_path / "calls")
        memory = max(peak_bytes(pid) for pid in server.family)
    finally:
        server.end()
    assert server.process.returncode == 0
    assert answer.status_code == 200, answer.text
    assert (answer.json()["width"], answer.json()["height"]) == (SIDE, SIDE)
    assert (warm_up >= 1, calls) == (True, STEPS)
    assert shared >= 1
    stages = answer.json()["timings_ms"]
    with capsys.disabled():
        print(
            f"\n{backend}: ready after {ready - begun:.0f} s; {SIDE}x{SIDE}, {STEPS} steps in "
            f"{seconds:.1f} s (denoising {stages['denoise'] / 1000:.1f} s, decoding "
            f"{stages['vae'] / 1000:.1f} s), {calls} U-Net calls, "
            f"{shared} of {STEPS + 3} shared by two requests, "
            f"{memory / 1e9:.1f} GB at most in one process"
        )
