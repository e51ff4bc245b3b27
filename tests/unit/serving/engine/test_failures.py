"""The reasons that requests and starts fail for, each with its own advice."""

import pytest

from diffusion_serving.engine.failures import (
    BlankPictureError,
    failed_request,
    failed_start,
    require_picture,
)
from diffusion_serving.engine.pipeline_interface import NotFiniteError, OutOfMemory, Picture
from diffusion_serving.http.responses.problems import from_request_error

CAUSES = (
    NotFiniteError("Copy the model again."),
    OutOfMemory("17 GB"),
    BlankPictureError("all black"),
    ValueError("mat1 and mat2"),
)


def test_each_cause_of_a_failed_start_has_advice_of_its_own() -> None:
    messages = [str(failed_start(cause)) for cause in CAUSES]
    assert len({message.split(". ", 1)[1] for message in messages}) == len(CAUSES)
    for message, named in zip(
        messages,
        ("Copy the model again", "generation.width", "one colour", "ValueError: mat1"),
        strict=True,
    ):
        assert named in message


def test_request_that_would_fail_again_is_not_told_to_try_again() -> None:
    for cause, named in zip(CAUSES[:2], ("guidance scale", "smaller"), strict=True):
        failure = failed_request("abc", cause)
        problem = from_request_error(failure)
        assert "Try again" not in problem.detail
        assert named in problem.detail
        assert problem.error_id == "abc"


def test_request_that_failed_for_an_unknown_cause_may_be_tried_again() -> None:
    assert "Try again" in from_request_error(failed_request("abc", KeyError("x"))).detail


@pytest.mark.parametrize("colour", [b"\x00\x00\x00", b"\xff\xff\xff", b"\x10\x80\xf0"])
def test_picture_of_one_colour_is_none(colour: bytes) -> None:
    with pytest.raises(BlankPictureError):
        require_picture(Picture(8, 8, colour * 64))
    require_picture(Picture(8, 8, colour * 63 + b"\x01\x02\x03"))
