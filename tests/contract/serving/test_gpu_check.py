"""The check of a GPU, whole, on a CPU with a tiny model: all but what only a GPU has."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from diffusion_serving.engine.step_runner import StepRunner
from diffusion_serving.gpu_check.command import main

NEEDS_A_GPU = {
    "load in float16",
    "images in a step",
    "energy (NVML)",
    "busy time (NVML)",
    "memory (NVML)",
    "images/s, all of 4 steps",
    "p95 of 4 steps, half load, mixed",
    "p95 of 30 steps, half load, mixed",
    "compile",
}
PASSES = {
    "device",
    "model",
    "load in float32",
    "load in bfloat16",
    "bfloat16 against float32",
    "start",
    "cost curve: images, step",
    "shared steps against calls alone",
    "out of memory",
    "memory that is back",
    "compilation under load",
    "time",
}


@pytest.fixture
def flat_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images share steps, though a busy machine's times may say that this costs more."""

    def timed(_: StepRunner, call: Callable[[Any], object], states: Any) -> float:
        call(states)
        return 0.01

    monkeypatch.setattr(StepRunner, "_timed", timed)


def test_a_cpu_passes_every_check_that_needs_no_gpu_and_says_why_it_skips_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_compilation: None, flat_curve: None
) -> None:
    flags = ["--device", "cpu", "--size", "tiny", "--compile", "full"]
    code = main([*flags, "--folder", str(tmp_path)])
    output = capsys.readouterr().out
    *lines, summary = output.splitlines()
    assert code == 0, output

    def ending(verdict: str) -> set[str]:
        return {line[:34].strip() for line in lines if line.endswith(verdict)}

    assert ending(" pass") == PASSES
    assert ending(" skipped") == NEEDS_A_GPU
    reasons = [after for line, after in pairwise(lines) if line.endswith("skipped")]
    assert all(reason.startswith(" " * 35) for reason in reasons)
    assert "8 of 8 images came" in output
    assert output.count("shared steps against calls alone") == 2, "once of the compiled model"
    assert summary == f"{len(PASSES) + 1} passed, 0 failed, {len(NEEDS_A_GPU)} skipped"
    assert list(tmp_path.iterdir()) == [], "the model is gone"
