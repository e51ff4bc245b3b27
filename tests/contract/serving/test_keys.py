"""A server must not start if it should require keys and has none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVING = Path(__file__).parents[3] / "serving"


@pytest.mark.parametrize("backend", ["fastapi", "litserve", "rayserve"])
@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read (No such file"), ("\n", "is empty: write one")]
)
def test_server_without_its_keys_ends_with_the_reason(
    tmp_path: Path, backend: str, content: str | None, words: str
) -> None:
    keys, message = tmp_path / "keys", tmp_path / "message"
    if content is not None:
        keys.write_text(content)
    command = [sys.executable, "-m", "diffusion_serving", "--backend", backend]
    command += ["--model", str(tmp_path), "--api-key-file", str(keys), "--port", "8000"]
    environ = {**os.environ, "PYTHONPATH": str(SERVING), "TERMINATION_LOG": str(message)}
    ended = subprocess.run(command, env=environ, check=False, capture_output=True, timeout=120)
    assert ended.returncode == 78, ended.stdout
    refusal = json.loads(message.read_text())
    assert refusal["reason"] == "InvalidConfiguration"
    assert f"auth.apiKeyFile {keys} {words}" in refusal["message"]
