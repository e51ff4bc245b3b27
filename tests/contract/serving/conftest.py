"""A real, tiny Stable Diffusion pipeline with random weights, and shared servers of it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lazily import Lazily
from serving_process import RAY_BATCHES, VARIANTS, Pool, Server, Variant, demo_configuration
from tiny_models import tiny_models

torch: Any = Lazily("torch")


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """A tiny model of 64 by 64 pixels."""
    return tiny_models().sd


@pytest.fixture(scope="session")
def tiny_xl_model() -> Path:
    """A tiny SDXL model, with its two text encoders."""
    return tiny_models().xl


@pytest.fixture(scope="session")
def tiny_loras() -> dict[str, Path]:
    """LoRAs for the tiny model: `unet` changes its U-Net alone, `text` its text encoder as well."""
    return tiny_models().loras


@pytest.fixture(scope="session")
def pool(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_loras: dict[str, Path]
) -> Iterator[Pool]:
    classifier = tiny_models().classifier
    pool = Pool(tmp_path_factory.mktemp, tiny_model, tiny_loras, classifier)
    yield pool
    pool.end()


@pytest.fixture(
    scope="session",
    params=[*VARIANTS, pytest.param(RAY_BATCHES, marks=pytest.mark.full)],
    ids=str,
)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Each backend with each way of batching; tests are grouped by it."""
    chosen: Variant = request.param
    return chosen


@pytest.fixture
def server(pool: Pool, variant: Variant) -> Server:
    """A ready server of the variant with the tiny model, shared with other tests."""
    return pool.patient(variant)


@pytest.fixture
def quick(pool: Pool, variant: Variant) -> Server:
    """A ready server of the variant on the stand-in, shared with other tests."""
    return pool.quick(variant)


@pytest.fixture
def strict(pool: Pool, variant: Variant) -> Server:
    """A server on the stand-in that requires a key and lets a request wait one second at most."""
    return pool.strict(variant)


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ready FastAPI server of the demo model, shared with other tests."""
    server = Server(tmp_path_factory.mktemp("demo"), demo_configuration(Variant("fastapi")))
    try:
        yield server.ready()
    finally:
        server.end()


@pytest.fixture
def quick_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs compilation up to the decision what to compile; g++ would take minutes."""
    real = torch.nn.Module.compile

    def compile_quickly(module: Any, **options: Any) -> None:
        real(module, **options, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_quickly)
    monkeypatch.setenv("CXX", sys.executable)  # no real compiler is needed
