"""The vocabulary: captions parse to their subjects, and pictures stay inside their frame."""

from __future__ import annotations

import numpy as np
import pytest

from demo_model.shapes import (
    COLOURS,
    COUNTS,
    SHAPES,
    PromptError,
    Subject,
    Variation,
    caption,
    colour_value,
    held_out_subjects,
    parse,
    render,
    subjects,
    training_subjects,
)


def test_the_vocabulary_is_complete() -> None:
    assert (len(SHAPES), len(COLOURS), COUNTS) == (7, 10, (1, 2, 3))
    assert len(subjects()) == len(set(subjects())) == 7 * 10 * 9 * 3


def test_training_and_held_out_subjects_share_nothing_and_leave_nothing_out() -> None:
    held_out, training = set(held_out_subjects()), set(training_subjects())
    assert not held_out & training
    assert held_out | training == set(subjects())
    assert len(held_out) == 378


def test_every_caption_of_every_subject_parses_to_that_subject() -> None:
    rng = np.random.default_rng(1)
    for subject in subjects():
        assert parse(str(subject)) == subject
        for _ in range(3):
            text = caption(subject, rng)
            assert parse(text) == subject, text


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("a red circle", Subject(1, "circle", "red", "white")),
        ("one red circle on blue", Subject(1, "circle", "red", "blue")),
        ("  A Picture of AN  orange star.", Subject(1, "star", "orange", "white")),
        ("two green crosses on a pink background", Subject(2, "cross", "green", "pink")),
        ("three white rings on an orange background", Subject(3, "ring", "white", "orange")),
    ],
)
def test_prompts_are_read(prompt: str, subject: Subject) -> None:
    assert parse(prompt) == subject


@pytest.mark.parametrize(
    ("prompt", "hint"),
    [
        ("", "write it like"),
        ("an astronaut on a horse", "write it like"),
        ("four red circles", "a count \\(a, one, two, three\\)"),
        ("a beige circle", "a colour \\(red, green"),
        ("a red hexagon", "a shape \\(circle, square"),
        ("a red circle on a blue background on a horse", "write it like"),
        ("two red circle", "differ in number"),
        ("a red circles", "differ in number"),
        ("a white circle", "white shape on white"),
        ("two red stars on a red background", "red shape on red"),
    ],
)
def test_prompts_outside_the_vocabulary_are_refused_with_a_hint(prompt: str, hint: str) -> None:
    with pytest.raises(PromptError, match=hint):
        parse(prompt)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_variation_reaches_the_border(count: int, shape: str) -> None:
    subject = Subject(count, shape, "red", "blue")
    for corner in np.ndindex(2, 2, 2, 2):
        picture = render(subject, Variation(*(2 * np.array(corner) - 1.0)))
        rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert np.allclose(rim, colour_value("blue"))


def test_variation_moves_the_picture() -> None:
    subject = Subject(2, "star", "red", "blue")
    pictures = [render(subject)] + [
        render(subject, variation)
        for variation in (Variation(x=1), Variation(y=1), Variation(size=1), Variation(turn=1))
    ]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 0.005


def test_size_changes_only_the_resolution() -> None:
    subject = Subject(3, "diamond", "cyan", "black")
    small, large = render(subject, size=64), render(subject, size=128)
    halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(small - halved).mean() < 0.01
