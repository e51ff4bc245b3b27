"""The decoder, with an autoencoder that overflows in half precision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from diffusion_serving.engine.pipeline_interface import NotFiniteError
from lazily import Lazily

if TYPE_CHECKING:
    import torch

    from diffusion_serving.pipeline import decoding
else:
    torch = Lazily("torch")
    decoding = Lazily("diffusion_serving.pipeline.decoding")


def overflowing(largest: float) -> Any:
    """A pipeline whose autoencoder multiplies by `largest` on its way."""

    class Overflowing(torch.nn.Module):
        config = type("Config", (dict,), {"scaling_factor": 1.0})()

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((1,), largest, dtype=torch.float16))
            self.precisions: list[Any] = []

        @property
        def dtype(self) -> Any:
            return self.weight.dtype

        def decode(self, latents: Any, **_: Any) -> tuple[Any]:
            self.precisions.append(latents.dtype)
            return ((latents * self.weight * self.weight / self.weight / self.weight)[:, :3],)

    return SimpleNamespace(vae=Overflowing())


def test_an_overflow_in_half_precision_is_decoded_again_in_full_precision() -> None:
    pipe = overflowing(1000.0)
    with torch.inference_mode():
        (picture,) = decoding.Decoder(pipe).pictures(
            torch.full((1, 4, 8, 8), 0.5, dtype=torch.float16)
        )
    assert set(picture.rgb) == {191}
    assert pipe.vae.precisions == [torch.float16, torch.float32]
    assert pipe.vae.dtype == torch.float16


def test_values_in_range_are_decoded_once() -> None:
    pipe = overflowing(10.0)
    with torch.inference_mode():
        decoding.Decoder(pipe).pictures(torch.zeros((1, 4, 8, 8), dtype=torch.float16))
    assert pipe.vae.precisions == [torch.float16]


def test_latents_that_are_not_finite_are_not_decoded() -> None:
    pipe = overflowing(10.0)
    latents = torch.full((1, 4, 8, 8), float("nan"), dtype=torch.float16)
    with torch.inference_mode(), pytest.raises(NotFiniteError, match="set precision to bfloat16"):
        decoding.Decoder(pipe).pictures(latents)
    assert pipe.vae.precisions == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_advice_looks_at_the_precision_that_is_set(precision: str) -> None:
    latents = torch.full((1, 4, 8, 8), float("nan"), dtype=getattr(torch, precision))
    with torch.inference_mode(), pytest.raises(NotFiniteError, match="copy the model again") as no:
        decoding.Decoder(overflowing(10.0)).pictures(latents)
    assert "float" not in str(no.value)


def test_a_batch_is_filled_up_to_a_compiled_size_and_cut_again() -> None:
    pipe = overflowing(10.0)
    latents = torch.zeros((3, 4, 8, 8), dtype=torch.float16)
    with torch.inference_mode():
        assert len(decoding.Decoder(pipe, [1, 2, 4]).pictures(latents)) == 3
    assert [len(decoding.filled(latents[:count], [2, 4])) for count in (1, 2, 3)] == [2, 2, 4]
