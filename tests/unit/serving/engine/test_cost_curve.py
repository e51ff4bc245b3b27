from typing import Any

import pytest

from diffusion_serving.engine.cost_curve import CostCurve, Points
from diffusion_serving.engine.image_request import ImageRequest

REFERENCE = 64 * 64 * 2


def curve(*points: tuple[float, float], decoding: Points = ()) -> CostCurve:
    return CostCurve(REFERENCE, points, 64 * 64, decoding)


def linear(fixed: float, each: float, *sizes: int) -> CostCurve:
    return curve(*((size, fixed + each * size) for size in sizes or (1, 2, 4, 8)))


def image_request(**changes: Any) -> ImageRequest:
    fields: dict[str, Any] = {"steps": 4, "guidance_scale": 2.0, "width": 64, "height": 64}
    return ImageRequest("x", "", **{**fields, **changes}, seeds=(1, 2))


def test_a_step_costs_what_was_measured_and_in_between_in_proportion() -> None:
    measured = curve((1, 1.0), (2, 1.5), (4, 1.9))
    seconds = [measured.step_seconds(images * REFERENCE) for images in (1, 2, 3, 4)]
    assert seconds == pytest.approx([1.0, 1.5, 1.7, 1.9])


def test_beyond_the_last_point_the_cost_grows_as_between_the_last_two() -> None:
    assert curve((1, 1.0), (2, 1.5)).step_seconds(4 * REFERENCE) == pytest.approx(2.5)


def test_a_smaller_image_costs_less_than_one_but_not_less_than_what_every_step_costs() -> None:
    assert linear(0.5, 1.0).step_seconds(REFERENCE / 2) == pytest.approx(1.0)


def test_a_single_point_makes_the_cost_proportional() -> None:
    assert curve((1, 2.0)).step_seconds(3 * REFERENCE) == pytest.approx(6.0)


def test_guidance_doubles_the_work_of_a_step_and_the_number_of_steps_changes_none() -> None:
    assert image_request().step_work == 2 * image_request(guidance_scale=1.0).step_work
    assert image_request(steps=50).step_work == image_request().step_work
    assert image_request().work == 2 * 4 * REFERENCE


def test_a_request_alone_takes_its_steps_and_its_decoding() -> None:
    measured = curve((1, 1.0), (2, 1.5), decoding=((1, 0.1),))
    assert measured.request_seconds(image_request()) == pytest.approx(4 * 1.5 + 2 * 0.1)


def test_all_images_share_a_step_that_costs_the_same_whatever_its_size() -> None:
    flat = linear(1.0, 0.0)
    assert [flat.size(images, 8, REFERENCE) for images in (1, 3, 8, 20)] == [1, 3, 8, 8]


def test_images_take_turns_where_a_step_costs_as_much_for_each_image() -> None:
    assert [linear(0.0, 1.0).size(images, 8, REFERENCE) for images in (1, 2, 8, 20)] == [1, 1, 1, 1]


def test_the_best_size_is_about_the_square_root_of_fixed_cost_and_number_by_cost_of_each() -> None:
    sizes = (1, 2, 4, 8, 16)
    assert linear(1.0, 0.25, *sizes).size(16, 64, REFERENCE) == 8
    assert linear(1.0, 1.0, *sizes).size(16, 64, REFERENCE) == 4
    assert linear(1.0, 1.0, *sizes).size(16, 2, REFERENCE) == 2


def test_a_size_that_was_never_measured_is_tried_once() -> None:
    first = curve((1, 1.0))
    assert [first.size(images, 8, REFERENCE) for images in (1, 2, 8)] == [1, 2, 2]
    assert first.with_step(2 * REFERENCE, 2.0).size(2, 8, REFERENCE) == 1


def test_a_size_beyond_the_measured_ones_is_tried_only_where_the_last_two_say_that_it_pays() -> (
    None
):
    assert [linear(0.0, 1.0, 1, 2).size(images, 64, REFERENCE) for images in (2, 4, 64)] == [1] * 3
    assert [linear(1.0, 0.0, 1, 2).size(images, 64, REFERENCE) for images in (3, 4, 64)] == [
        3,
        4,
        4,
    ]


def test_a_measured_step_moves_its_point_and_a_larger_one_adds_a_point() -> None:
    moved = curve((1, 1.0), (2, 1.5)).with_step(REFERENCE, 2.0)
    assert dict(moved.points) == pytest.approx({1: 1.2, 2: 1.5})
    assert moved.with_step(1.5 * REFERENCE, 9.0) == moved
    assert moved.with_step(4 * REFERENCE, 3.0).points[-1] == (4, 3.0)


def test_one_stall_makes_no_size_look_dear() -> None:
    """A size that isn't chosen is not measured again, so it must not be lost to a stall."""
    flat = curve((1, 0.05), (2, 0.05), (4, 0.05), (8, 0.05))
    assert flat.with_step(8 * REFERENCE, 0.5).size(8, 8, REFERENCE) == 8


def test_decoding_has_a_curve_of_its_own_by_pixels() -> None:
    pixels = 64 * 64
    assert curve((1, 1.0)).decoding_seconds(pixels) == 0.0
    first = curve((1, 1.0)).with_decoding(pixels, 0.2)
    assert first.decoding_seconds(3 * pixels) == pytest.approx(0.6)
    second = first.with_decoding(2 * pixels, 0.3)
    assert second.decoding_seconds(3 * pixels) == pytest.approx(0.4)
    assert second.with_decoding(pixels, 0.3).decoding_seconds(pixels) == pytest.approx(0.22)
    anew = second.with_decoding_point(2, 0.5).with_decoding_point(4, 0.7)
    assert dict(anew.decoding) == {1: 0.2, 2: 0.5, 4: 0.7}


def test_the_seconds_of_a_unit_of_work_are_those_of_the_best_size() -> None:
    assert linear(1.0, 1.0).seconds_per_work == pytest.approx((1 + 8) / 8 / REFERENCE)
