"""The loads of the check of a GPU, and the verdict on steps against whole calls."""

from pathlib import Path

import pytest

from diffusion_serving.engine.cost_curve import CostCurve
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.gpu_check.lines import Verdict
from diffusion_serving.gpu_check.loads import LONG, SHORT, Loaded, arrivals, compare
from diffusion_serving.gpu_check.setting import Setting

USUAL = ImageRequest("x", "", SHORT, 2.0, 64, 64, (0,))
CURVE = CostCurve(USUAL.step_work, ((1, 0.01), (8, 0.04)), USUAL.pixels)


def setting(device: str, seconds: float = 100.0) -> Setting:
    return Setting(Path("model"), device, "none", seconds)


def test_arrivals_are_half_of_what_the_device_can_make_and_one_in_five_is_long() -> None:
    requests = arrivals(USUAL, CURVE, setting("cuda"))
    steps = [request.steps for _, request in requests]
    assert steps.count(LONG) / len(steps) == pytest.approx(0.2, abs=0.01)
    assert sum(steps) * 0.04 / 8 == pytest.approx(50.0, rel=0.15)


def test_a_short_load_still_has_long_requests() -> None:
    assert [request.steps for _, request in arrivals(USUAL, CURVE, setting("cpu", 0.0))].count(
        LONG
    ) == 2


@pytest.mark.parametrize(
    ("steps", "verdicts"),
    [
        (Loaded(10.0, 1.0, 2.0), "pass pass pass"),
        (Loaded(9.0, 1.0, 2.0), "FAIL pass pass"),
        (Loaded(11.0, 1.2, 2.2), "pass FAIL FAIL"),
    ],
)
def test_steps_must_not_be_worse_than_whole_calls(steps: Loaded, verdicts: str) -> None:
    calls = Loaded(10.0, 1.0, 2.0)
    lines = list(compare(setting("cuda"), steps, calls))
    assert [line.verdict.value for line in lines] == verdicts.split()
    assert {line.verdict for line in compare(setting("cpu"), steps, calls)} == {Verdict.SKIPPED}
