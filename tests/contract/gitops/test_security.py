"""Checkov finds nothing in the chart and the images but exceptions with a reason."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from checkers import checkov

ROOT = Path(__file__).parents[3]
Render = Callable[..., list[dict[str, Any]]]

CHART = {
    "CKV_K8S_11": "A limit of CPU time slows the operator down although the node is idle; its "
    "memory is limited.",
    "CKV_K8S_38": "The operator authenticates to the API server with the token.",
    "CKV2_K8S_6": "The pod answers its probes and nothing else, and a policy would have to allow "
    "the API server's address, which differs by cluster.",
}
IMAGES = {
    "CKV_DOCKER_2": "Kubernetes uses probes, which every pod has, and ignores HEALTHCHECK.",
    "CKV_DOCKER_7": "The base image is an argument of the build, which passes it with its version.",
}


def findings(framework: str, file: Path) -> tuple[int, set[str]]:
    """Counts the checks that passed, and lists those that failed."""
    command = [str(checkov()), "--file", str(file), "--framework", framework]
    command += ["--skip-download", "--output", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    results = json.loads(done.stdout)["results"]
    return len(results["passed_checks"]), {each["check_id"] for each in results["failed_checks"]}


def test_the_chart_has_no_finding_but_those_that_are_meant(
    template: Render, tmp_path: Path
) -> None:
    image = f"registry.example/diffusion-operator@sha256:{'1' * 64}"
    objects = template("--set-string", f"images.operator={image}", "--set", "crds.install=false")
    file = tmp_path / "chart.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    passed, failed = findings("kubernetes", file)
    assert passed > 80, "too few checks ran to show anything"
    assert failed == set(CHART)


def test_the_images_have_no_finding_but_those_that_are_meant() -> None:
    passed, failed = findings("dockerfile", ROOT / "images" / "Dockerfile")
    assert passed > 80, "too few checks ran to show anything"
    assert failed == set(IMAGES)
