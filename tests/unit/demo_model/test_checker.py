"""The checker accepts right pictures of the whole vocabulary and refuses everything else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from demo_model.checker import look, read
from demo_model.shapes import (
    COLOURS,
    COUNTS,
    SHAPES,
    SIZE,
    VARIATIONS,
    Picture,
    Subject,
    Variation,
    colour_value,
    render,
    subjects,
)

ROOT = Path(__file__).parents[3]
RED_CIRCLE = Subject(1, "circle", "red", "blue")


def sample(n: int, seed: int) -> list[tuple[Subject, Picture]]:
    """Random right pictures."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(subjects()), n, replace=False)
    return [
        (subjects()[i], render(subjects()[i], Variation(*rng.uniform(-1, 1, VARIATIONS))))
        for i in chosen
    ]


def to_image(picture: Picture) -> Image.Image:
    return Image.fromarray((picture * 255).round().astype(np.uint8))


def test_right_pictures_of_the_whole_vocabulary_are_accepted() -> None:
    seen_values: set[str | int] = set()
    for subject, picture in sample(300, seed=1):
        assert look(picture).differences(subject) == [], subject
        seen_values |= {subject.count, subject.shape, subject.colour, f"on {subject.background}"}
    assert seen_values == {*COUNTS, *SHAPES, *COLOURS, *(f"on {colour}" for colour in COLOURS)}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_stay_apart_and_readable_at_every_extreme(count: int, shape: str) -> None:
    subject = Subject(count, shape, "green", "yellow")
    for x, size, turn in product((-1, 1), (-1, 1), (-1, -0.5, 0.5, 1)):
        picture = render(subject, Variation(x=x, y=x, size=size, turn=turn))
        assert look(picture).differences(subject) == []


def test_pictures_a_little_blurred_and_noisy_are_accepted() -> None:
    rng = np.random.default_rng(2)
    for subject, picture in sample(60, seed=2):
        blurred = to_image(picture).filter(ImageFilter.GaussianBlur(2))
        rough = np.asarray(blurred, np.float32) / 255 + rng.normal(0, 0.02, picture.shape)
        assert look(np.clip(rough, 0, 1)).differences(subject) == [], subject


@pytest.mark.parametrize("attribute", ["count", "shape", "colour", "background"])
def test_a_picture_that_is_wrong_in_one_thing_is_refused_for_that_thing(attribute: str) -> None:
    values: tuple[Any, ...] = {
        "count": COUNTS,
        "shape": SHAPES,
        "colour": tuple(COLOURS),
        "background": tuple(COLOURS),
    }[attribute]
    checked = 0
    for subject, picture in sample(40, seed=3):
        seen = look(picture)
        for value in values:
            other = replace(subject, **{attribute: value})
            if other != subject and other.colour != other.background:
                assert seen.differences(other) == [attribute], (subject, other)
                checked += 1
    assert checked >= 40 * (len(values) - 2)


@pytest.mark.parametrize("colour", COLOURS)
def test_blank_pictures_are_refused(colour: str) -> None:
    blank = np.broadcast_to(colour_value(colour), (SIZE, SIZE, 3))
    seen = look(blank)
    assert (seen.count, seen.shape, seen.colour, seen.background) == (0, None, None, colour)


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fine = rng.random((SIZE, SIZE, 3))
    coarse = np.kron(rng.random((16, 16, 3)), np.ones((8, 8, 1)))
    for noise in (fine, coarse):
        seen = look(noise)
        assert seen.shape is None
        assert seen.count == 0


@pytest.mark.parametrize("blur", [5, 9, 13])
def test_random_blobs_have_no_shape(blur: int) -> None:
    rng = np.random.default_rng(blur)
    grain = Image.fromarray(rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8))
    heights = np.asarray(grain.filter(ImageFilter.GaussianBlur(blur)))
    ink = heights > np.quantile(heights, 0.85)
    seen = look(np.where(ink[..., None], colour_value("red"), colour_value("blue")))
    assert seen.colour == "red"
    assert seen.shape is None


def test_two_different_shapes_have_no_common_shape() -> None:
    left = render(Subject(2, "circle", "red", "blue"))
    right = render(Subject(2, "square", "red", "blue"))
    mixed = np.concatenate([left[:, : SIZE // 2], right[:, SIZE // 2 :]], axis=1)
    assert look(mixed).differences(Subject(2, "circle", "red", "blue")) == ["shape"]


def test_a_second_smaller_shape_is_counted() -> None:
    picture = render(Subject(1, "circle", "red", "blue"), Variation(size=-1, x=1, y=1))
    picture[8:20, 8:20] = colour_value("red")
    assert look(picture).count == 2


def test_colours_outside_the_vocabulary_have_no_name() -> None:
    picture = render(RED_CIRCLE)
    grey = np.where(picture[..., :1] > 0.5, np.float32(0.5), picture)
    assert look(grey).colour is None
    assert look(1 - (1 - grey) * 0.5).background is None


def test_pictures_are_read_at_any_size(tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    to_image(render(RED_CIRCLE, size=512)).save(file)
    assert look(read(file)).differences(RED_CIRCLE) == []


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo_model.checker", *arguments],
        cwd=ROOT / "images",
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_right_wrong_or_unreadable(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    to_image(render(RED_CIRCLE)).save(file)

    right = run(str(file), "a red circle on a blue background")
    assert right.returncode == 0, right.stderr
    assert "1 x red circle on blue background: right" in right.stdout

    wrong = run(str(file), "two red stars on a blue background")
    assert wrong.returncode == 1
    assert "wrong count, shape" in wrong.stdout

    unknown = run(str(file), "a horse")
    assert unknown.returncode == 2
    assert "write it like" in unknown.stderr

    missing = run(str(tmp_path / "nothing.png"), "a red circle")
    assert missing.returncode == 2
    assert "nothing.png" in missing.stderr
