"""The demo model's vocabulary, its captions, and the pictures of its training.

The module is plain numpy and deterministic, so that training, evaluation and the checker share one
definition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Floats: TypeAlias = NDArray[np.floating]
Picture: TypeAlias = Floats
"""Height x width x 3, values 0 to 1."""

SIZE: Final = 128
"""Width and height of a picture in pixels."""

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 70, 220),
    "yellow": (245, 215, 40),
    "orange": (250, 130, 20),
    "purple": (135, 40, 170),
    "pink": (250, 140, 190),
    "cyan": (50, 205, 220),
    "black": (15, 15, 15),
    "white": (250, 250, 250),
}
PLURALS: Final[dict[str, str]] = {
    "circle": "circles",
    "square": "squares",
    "triangle": "triangles",
    "diamond": "diamonds",
    "cross": "crosses",
    "ring": "rings",
    "star": "stars",
}
SHAPES: Final[tuple[str, ...]] = tuple(PLURALS)
COUNT_WORDS: Final[dict[str, int]] = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3}
COUNTS: Final[tuple[int, ...]] = (1, 2, 3)
DEFAULT_BACKGROUND: Final = "white"
OPENINGS: Final[tuple[str, ...]] = ("a picture of", "a drawing of", "an image of")

# Shares of the captions that use each variant of the wording.
_ONE_SHARE: Final = 0.15
_OPENING_SHARE: Final = 0.1
_NAMED_DEFAULT_SHARE: Final = 0.4
_LONG_BACKGROUND_SHARE: Final = 0.85
_FULL_STOP_SHARE: Final = 0.1

HELD_OUT_SHARE: Final = 0.2
_HELD_OUT_SEED: Final = 20240


class PromptError(ValueError):
    """The prompt is outside the vocabulary; the message explains the vocabulary."""


@dataclass(frozen=True)
class Subject:
    """The content of a prompt: count, shape, colour and background."""

    count: int
    shape: str
    colour: str
    background: str

    def __str__(self) -> str:
        head = {1: _article(self.colour), 2: "two", 3: "three"}[self.count]
        return (
            f"{head} {self.colour} {_noun(self.shape, self.count)} "
            f"on {_article(self.background)} {self.background} background"
        )


@dataclass(frozen=True)
class Variation:
    """Properties of a picture that no prompt decides, each between -1 and 1; 0 is the middle."""

    x: float = 0.0
    y: float = 0.0
    size: float = 0.0
    turn: float = 0.0
    """The turn of the arrangement of two or three shapes, not of the shapes themselves."""


VARIATIONS: Final = 4
"""The number of a Variation's fields."""


@dataclass(frozen=True)
class _Layout:
    """The places of shapes; lengths as shares of the picture's width, angles in degrees."""

    radius: float
    orbit: float
    first_angle: float
    max_turn: float
    max_shift: tuple[float, float]
    max_growth: float


# No shape touches another or the border, in any variation.
_LAYOUTS: Final[dict[int, _Layout]] = {
    1: _Layout(0.29, 0.0, 0.0, 0.0, (0.07, 0.07), 0.1),
    2: _Layout(0.19, 0.235, 0.0, 12.0, (0.03, 0.07), 0.05),
    3: _Layout(0.175, 0.26, -90.0, 8.0, (0.025, 0.025), 0.04),
}


@cache
def subjects() -> tuple[Subject, ...]:
    """All 1,890 subjects: no shape has the colour of its background."""
    return tuple(
        Subject(count, shape, colour, background)
        for count, shape, colour, background in product(COUNTS, SHAPES, COLOURS, COLOURS)
        if colour != background
    )


@cache
def held_out_subjects() -> tuple[Subject, ...]:
    """The subjects that training never sees, in a fixed random order."""
    everything = subjects()
    order = np.random.default_rng(_HELD_OUT_SEED).permutation(len(everything))
    return tuple(everything[i] for i in order[: round(HELD_OUT_SHARE * len(everything))])


@cache
def training_subjects() -> tuple[Subject, ...]:
    """All subjects but the held-out ones."""
    held_out = frozenset(held_out_subjects())
    return tuple(subject for subject in subjects() if subject not in held_out)


def caption(subject: Subject, rng: np.random.Generator) -> str:
    """A random caption of `subject`; `parse` understands every caption."""
    head = {1: _article(subject.colour), 2: "two", 3: "three"}[subject.count]
    if subject.count == 1 and rng.random() < _ONE_SHARE:
        head = "one"
    text = f"{head} {subject.colour} {_noun(subject.shape, subject.count)}"
    if rng.random() < _OPENING_SHARE:
        text = f"{OPENINGS[rng.integers(len(OPENINGS))]} {text}"
    if subject.background != DEFAULT_BACKGROUND or rng.random() < _NAMED_DEFAULT_SHARE:
        if rng.random() < _LONG_BACKGROUND_SHARE:
            text += f" on {_article(subject.background)} {subject.background} background"
        else:
            text += f" on {subject.background}"
    return f"{text}." if rng.random() < _FULL_STOP_SHARE else text


_PROMPT: Final = re.compile(
    rf"(?:(?:{'|'.join(OPENINGS)}) )?"
    rf"(?P<count>{'|'.join(COUNT_WORDS)}) (?P<colour>{'|'.join(COLOURS)}) "
    rf"(?P<noun>{'|'.join([*PLURALS.values(), *PLURALS])})"
    rf"(?: on (?:(?:an? )?(?P<background>{'|'.join(COLOURS)})(?: background)?))?\.?"
)


def parse(prompt: str) -> Subject:
    """Read a prompt of the vocabulary; case and extra spaces do not matter.

    Raises:
        PromptError: the prompt says something that the model has no words for.

    """
    match = _PROMPT.fullmatch(" ".join(prompt.lower().split()))
    if match is None:
        raise PromptError(
            f"cannot read {prompt!r}: write it like 'two red squares on a blue background' with "
            f"a count (a, one, two, three), a colour ({', '.join(COLOURS)}), "
            f"a shape ({', '.join(SHAPES)}) and, if not white, a background colour"
        )
    count = COUNT_WORDS[match["count"]]
    singular = {_noun(shape, count): shape for shape in SHAPES}
    if match["noun"] not in singular:
        raise PromptError(
            f"cannot read {prompt!r}: {match['count']!r} and {match['noun']!r} differ in number"
        )
    background = match["background"] or DEFAULT_BACKGROUND
    if background == match["colour"]:
        raise PromptError(
            f"cannot read {prompt!r}: a {background} shape on {background} would not show"
        )
    return Subject(count, singular[match["noun"]], match["colour"], background)


def render(subject: Subject, variation: Variation = Variation(), size: int = SIZE) -> Picture:
    """Draws `subject` with smooth edges of one pixel; `size` is the width and height in pixels."""
    layout = _LAYOUTS[subject.count]
    radius = layout.radius * (1 + layout.max_growth * variation.size) * size
    across, down = _grid(size)
    cover = np.zeros((size, size), np.float32)
    for x, y in _centres(layout, subject.count, variation):
        distance = signed_distance(subject.shape, across - x * size, down - y * size, radius)
        np.maximum(cover, np.clip(0.5 - distance, 0, 1), out=cover)
    paper, ink = colour_value(subject.background), colour_value(subject.colour)
    return paper + cover[..., None] * (ink - paper)


def colour_value(name: str) -> Floats:
    """The colour's red, green and blue, 0 to 1."""
    return np.asarray(COLOURS[name], np.float32) / 255


def signed_distance(shape: str, x: Floats, y: Floats, radius: float) -> Floats:
    """The approximate distance in pixels of (`x`, `y`) from the edge of `shape` around (0, 0).

    The distance is negative inside; `y` points down.
    """
    return _DISTANCES[shape](x / radius, y / radius) * radius


# The distances of each shape with a radius of 1.


def _circle(x: Floats, y: Floats) -> Floats:
    return np.hypot(x, y) - 1


def _ring(x: Floats, y: Floats) -> Floats:
    return np.abs(np.hypot(x, y) - 0.74) - 0.26


def _square(x: Floats, y: Floats) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - 0.88


def _diamond(x: Floats, y: Floats) -> Floats:
    distance: Floats = (np.abs(x) + np.abs(y) - 1.1) * np.sqrt(0.5)
    return distance


def _cross(x: Floats, y: Floats) -> Floats:
    upright = np.maximum(np.abs(x) - 0.34, np.abs(y) - 1)
    level = np.maximum(np.abs(x) - 1, np.abs(y) - 0.34)
    distance: Floats = np.minimum(upright, level)
    return distance


def _triangle(x: Floats, y: Floats) -> Floats:
    sides = (2 * np.abs(x) - (y + 1.05)) * np.sqrt(0.2)
    distance: Floats = np.maximum(y - 0.8, sides)
    return distance


def _star(x: Floats, y: Floats) -> Floats:
    """A star of five points, folded onto half a point; a small pentagram would be too thin."""
    tip, dent, half = 1.1, 0.517, np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + half) % (2 * half) - half)
    distance = np.hypot(x, y)
    along, beside = distance * np.cos(angle), distance * np.sin(angle)
    normal = np.array([dent * np.sin(half), tip - dent * np.cos(half)])
    normal /= np.hypot(*normal)
    edge: Floats = (along - tip) * normal[0] + beside * normal[1]
    return edge


_DISTANCES: Final[dict[str, Callable[[Floats, Floats], Floats]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "diamond": _diamond,
    "cross": _cross,
    "ring": _ring,
    "star": _star,
}


def _centres(layout: _Layout, count: int, variation: Variation) -> list[tuple[float, float]]:
    shift_x, shift_y = layout.max_shift[0] * variation.x, layout.max_shift[1] * variation.y
    angles = layout.first_angle + layout.max_turn * variation.turn + np.arange(count) * 360 / count
    return [
        (shift_x + layout.orbit * float(np.cos(a)), shift_y + layout.orbit * float(np.sin(a)))
        for a in np.radians(angles)
    ]


@cache
def _grid(size: int) -> tuple[Floats, Floats]:
    line = np.arange(size, dtype=np.float32) + 0.5 - size / 2
    return line[None, :], line[:, None]


def _noun(shape: str, count: int) -> str:
    return shape if count == 1 else PLURALS[shape]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
