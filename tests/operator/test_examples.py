"""The manifests that the documentation applies."""

from pathlib import Path

import pytest

from kubectl import Kubectl

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.stem))
def test_the_api_server_takes_the_example(kubectl: Kubectl, example: Path) -> None:
    assert "created" in kubectl("apply", "--dry-run=server", "-f", str(example))
