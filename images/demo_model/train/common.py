"""Functions that all stages of the training share: determinism, progress, rendered batches."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from demo_model.shapes import SIZE, VARIATIONS, Subject, Variation, render

if TYPE_CHECKING:
    from numpy.typing import NDArray

LATENT_CHANNELS: Final = 8
LATENT_SIZE: Final = SIZE // 8


def make_deterministic(seed: int) -> None:
    """Makes training deterministic: same seed, library versions and kind of CPU, same weights."""
    # The order of additions, and so the last bits of a sum, depends on the number of threads.
    # One thread takes the least processor time, because the layers are too small to divide.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(seed)


def numpy_generator() -> np.random.Generator:
    """A generator with torch's seed, so that one seed decides a whole stage."""
    return np.random.default_rng(torch.initial_seed())


def draw(subjects: list[Subject], variations: NDArray[np.float64]) -> torch.Tensor:
    """Pictures as bytes, N x 3 x SIZE x SIZE; `variations` is N x VARIATIONS."""
    pictures = np.empty((len(subjects), 3, SIZE, SIZE), np.uint8)
    for i, (subject, variation) in enumerate(zip(subjects, variations.tolist(), strict=True)):
        picture = render(subject, Variation(*variation)) * 255
        pictures[i] = picture.round().astype(np.uint8).transpose(2, 0, 1)
    return torch.from_numpy(pictures)


def draw_random(
    pool: tuple[Subject, ...], n: int, rng: np.random.Generator
) -> tuple[list[Subject], NDArray[np.float64], torch.Tensor]:
    """`n` random subjects of `pool` with random variations, and their pictures."""
    subjects = [pool[i] for i in rng.integers(len(pool), size=n)]
    variations = rng.uniform(-1, 1, (n, VARIATIONS))
    return subjects, variations, draw(subjects, variations)


def to_model(pictures: torch.Tensor) -> torch.Tensor:
    """Converts bytes to the range -1 to 1, in the pipeline's layout for convolutions on CPU."""
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def lay_out(module: torch.nn.Module, memory_format: torch.memory_format) -> None:
    """Changes the order in memory of the module's weights, in place."""
    module.to(memory_format=memory_format)


@dataclass
class Progress:
    """Prints the mean loss, the time spent and an estimate of the rest, once in `every` steps."""

    name: str
    steps: int
    every: int = 50
    _start: float = field(default_factory=time.monotonic)
    _losses: list[float] = field(default_factory=list)

    def step(self, done: int, loss: float) -> None:
        """Records the loss of step number `done`, counted from 1."""
        self._losses.append(loss)
        if done % self.every and done != self.steps:
            return
        spent = time.monotonic() - self._start
        mean = sum(self._losses) / len(self._losses)
        rest = spent / done * (self.steps - done)
        print(
            f"{self.name}: step {done}/{self.steps}, loss {mean:.4f}, "
            f"{spent:.0f} s, about {rest:.0f} s to go",
            file=sys.stderr,
            flush=True,
        )
        self._losses.clear()


def warmup_then_linear(step: int, steps: int, *, warmup: int, hold: float = 0.0) -> float:
    """The learning rate's factor: rises for `warmup` steps, holds for a share, falls to 1/50."""
    rise = min(1.0, (step + 1) / warmup)
    done = step / steps
    return rise if done < hold else rise * max(0.02, (1 - done) / (1 - hold))
