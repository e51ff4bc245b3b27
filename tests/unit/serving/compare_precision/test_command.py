"""The command refuses a precision before it loads a model."""

from pathlib import Path

import pytest

from diffusion_serving.compare_precision import command


def test_precision_that_the_device_cannot_do_is_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "measure", lambda *_: pytest.fail("a model is loaded"))
    flags = ["--model", str(tmp_path), "--precision", "float16", "--images", "1"]
    assert command.main(flags) == 1
    assert "float16 needs a GPU" in capsys.readouterr().err
