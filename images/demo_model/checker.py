"""Checks whether a picture shows the subject of its prompt; needs only numpy and Pillow.

`python -m demo_model.checker picture.png "a red circle on a blue background"` prints the subject
of the picture. The exit code is 0 if it is the prompt's subject, 1 if not, and 2 if the prompt or
the file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo_model.shapes import (
    COLOURS,
    SHAPES,
    SIZE,
    Picture,
    PromptError,
    Subject,
    colour_value,
    parse,
    signed_distance,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Mask: TypeAlias = NDArray[np.bool_]

_MAX_COLOUR_ERROR: Final = 0.2
"""The greatest distance from a colour; orange and yellow, the nearest two, are 0.34 apart."""
_MIN_CONTRAST: Final = 0.15
"""The least distance of a shape's colour from the background's."""
_SHAPE_SHARE: Final = 0.0025
"""The least area of a shape, as a share of the picture; smaller specks are ignored."""
_MIN_PLAIN_SHARE: Final = 0.85
"""The least share of the picture with one of its two colours or, as at edges, a mixture."""
_MIN_LIKENESS: Final = 0.7
"""The least overlap with a template, as a share of the union."""
_TEMPLATE_SIZE: Final = 48
"""Width and height of templates in cells."""
_TEMPLATE_REACH: Final = 2.4
"""The width that a template covers, in square roots of its shape's area."""


@dataclass(frozen=True)
class Seen:
    """The subject of a picture; None or 0 for a part that is not recognized."""

    count: int
    shape: str | None
    colour: str | None
    background: str | None

    def __str__(self) -> str:
        if not self.count:
            return f"no clear shape on {self.background or 'an unclear'} background"
        return (
            f"{self.count} x {self.colour or 'unclear colour'} {self.shape or 'unclear shape'} "
            f"on {self.background or 'an unclear'} background"
        )

    def differences(self, subject: Subject) -> list[str]:
        """The names of the parts (count, shape, colour, background) that differ from `subject`."""
        return [
            name
            for name in ("count", "shape", "colour", "background")
            if getattr(self, name) != getattr(subject, name)
        ]


def look(picture: Picture) -> Seen:
    """Recognizes the subject of `picture`, without its prompt."""
    paper = _border_colour(picture)
    background = _name(paper)
    distance = np.linalg.norm(picture - paper, axis=2)
    # Shapes cover more than a thirtieth of every picture, so this is their colour's distance.
    contrast = float(np.quantile(distance, 0.97))
    if contrast < _MIN_CONTRAST:
        return Seen(0, None, None, background)
    ink = np.median(picture[distance > 0.75 * contrast], axis=0)
    if _plain_share(picture, paper, ink) < _MIN_PLAIN_SHARE:
        return Seen(0, None, None, None)
    parts = [
        part
        for part in _connected_parts(distance > 0.5 * contrast)
        if part.sum() > _SHAPE_SHARE * distance.size
    ]
    shapes = {_shape(part) for part in parts}
    return Seen(len(parts), shapes.pop() if len(shapes) == 1 else None, _name(ink), background)


def read(file: Path) -> Picture:
    """Loads a picture of any size, and scales it to the model's size.

    Raises:
        OSError: The file is missing, or is not a picture.
    """
    with Image.open(file) as image:
        scaled = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(scaled, np.float32) / 255


def _border_colour(picture: Picture) -> Picture:
    width = max(2, picture.shape[0] // 32)
    sides = (picture[:width], picture[-width:], picture[:, :width], picture[:, -width:])
    colour: Picture = np.median(np.concatenate([side.reshape(-1, 3) for side in sides]), axis=0)
    return colour


def _name(colour: Picture) -> str | None:
    """The nearest colour's name; None if no colour is near."""
    distances = {name: float(np.linalg.norm(colour - colour_value(name))) for name in COLOURS}
    nearest = min(distances, key=distances.__getitem__)
    return nearest if distances[nearest] <= _MAX_COLOUR_ERROR else None


def _plain_share(picture: Picture, paper: Picture, ink: Picture) -> float:
    """The share of the picture whose colour lies near the line between its two colours."""
    line = ink - paper
    along = np.clip((picture - paper) @ line / (line @ line), 0, 1)
    error = np.linalg.norm(picture - paper - along[..., None] * line, axis=2)
    return float((error <= _MAX_COLOUR_ERROR).mean())


def _connected_parts(mask: Mask) -> Iterator[Mask]:
    """Yields each group of pixels that touch at sides or corners."""
    left = mask.copy()
    while left.any():
        part = np.zeros_like(mask)
        part.flat[left.argmax()] = True
        size = 0
        while part.sum() > size:
            size = part.sum()
            part = _grow(_grow(part).T).T & left
        left &= ~part
        yield part


def _grow(part: Mask) -> Mask:
    """Adds the rows above and below."""
    grown = part.copy()
    grown[1:] |= part[:-1]
    grown[:-1] |= part[1:]
    return grown


def _shape(part: Mask) -> str | None:
    """The shape with the greatest overlap of its template; None if the overlap is small."""
    normal = _normalise(part)
    likeness = {
        shape: float((normal & template).sum() / (normal | template).sum())
        for shape, template in _templates().items()
    }
    best = max(likeness, key=likeness.__getitem__)
    return best if likeness[best] >= _MIN_LIKENESS else None


@cache
def _templates() -> dict[str, Mask]:
    line = np.arange(SIZE, dtype=np.float32) + 0.5 - SIZE / 2
    across, down = np.broadcast_to(line, (SIZE, SIZE)), np.broadcast_to(line[:, None], (SIZE, SIZE))
    radius = 0.4 * SIZE
    return {s: _normalise(signed_distance(s, across, down, radius) < 0) for s in SHAPES}


def _normalise(part: Mask) -> Mask:
    """Moves the part to a fixed place and area; blurred points and corners hardly change these."""
    ys, xs = np.nonzero(part)
    steps = (np.arange(_TEMPLATE_SIZE) + 0.5) / _TEMPLATE_SIZE - 0.5
    reach = _TEMPLATE_REACH * np.sqrt(len(ys))
    padded = np.pad(part, 1)
    rows = np.clip(np.rint(ys.mean() + reach * steps).astype(int) + 1, 0, padded.shape[0] - 1)
    columns = np.clip(np.rint(xs.mean() + reach * steps).astype(int) + 1, 0, padded.shape[1] - 1)
    normal: Mask = padded[np.ix_(rows, columns)]
    return normal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo_model.checker", description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("prompt")
    options = parser.parse_args()
    try:
        subject = parse(options.prompt)
        seen = look(read(options.picture))
    except (PromptError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    wrong = seen.differences(subject)
    print(f"{options.picture}: {seen}: {'wrong ' + ', '.join(wrong) if wrong else 'right'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
