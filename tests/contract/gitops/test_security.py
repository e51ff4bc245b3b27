"""Nothing that checkov finds insecure in the chart or the images, but what is meant, and why."""

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
    "CKV_K8S_11": "A limit of processor time slows the operator down while the node's idle; its "
    "memory is limited.",
    "CKV_K8S_38": "The token is what the operator talks to the API server with.",
    "CKV2_K8S_6": "The pod answers its probes and nothing else, and where the API server is, which "
    "a policy would have to let it reach, differs by cluster.",
}
IMAGES = {
    "CKV_DOCKER_2": "Kubernetes looks at probes, which every pod has, and never at HEALTHCHECK.",
    "CKV_DOCKER_7": "The base is an argument of the build, which gives it with its version.",
}


def findings(framework: str, file: Path) -> tuple[int, set[str]]:
    """How many checks passed, and which did not."""
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
