"""The plugin as its user runs it, against a fake API server."""

import base64
import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kubectl_diffusion.__main__ import main
from load_reports import ramp

Object = dict[str, Any]
TESTS = "/apis/diffusion.dev/v1alpha1/namespaces/shop/loadtests"
SERVICES = "/apis/diffusion.dev/v1alpha1/namespaces/shop/diffusionservices"
CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"
PREDICT = "/api/v1/namespaces/shop/services/demo:80/proxy/predict"


@pytest.fixture
def finished(fake_cluster: Any) -> Any:
    """A cluster with the LoadTest `ramp`, which has a report."""
    report = ramp("abc")
    status = {"run": "abc", "state": "Complete", "reportRef": {"name": "r", "key": "report.json"}}
    metadata = {"name": "ramp", "namespace": "shop"}
    fake_cluster.objects[f"{TESTS}/ramp"] = {"metadata": metadata, "status": status}
    fake_cluster.objects[f"{CONFIG_MAPS}/r"] = {"data": {"report.json": json.dumps(report)}}
    return fake_cluster


@pytest.fixture
def serving(fake_cluster: Any) -> Any:
    """A cluster with the DiffusionService `demo`."""
    fake_cluster.objects[f"{SERVICES}/demo"] = {"metadata": {"name": "demo"}, "spec": {}}
    return fake_cluster


def run(cluster: Any, *arguments: str) -> int:
    return main([*arguments, "--kubeconfig", str(cluster.kubeconfig)])


def answer(image: bytes) -> str:
    text = base64.b64encode(image).decode()
    return json.dumps({"images": [text], "format": "png", "seed": 7, "width": 64, "height": 64})


def test_a_report_becomes_a_page_of_the_tests_name(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(finished, "report", "lt/ramp") == 0
    assert "shop/ramp" in (tmp_path / "ramp-report.html").read_text()


def test_json_is_the_runners_own_text(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(finished, "report", "loadtest/ramp", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == ramp("abc")


def test_csv_has_a_row_a_stage_and_one_for_the_whole(
    finished: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(finished, "report", "ramp", "--format", "csv") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["stage"] for row in rows] == ["1", "2", "3", "whole"]
    assert rows[-1]["requests"] == str(ramp("abc")["summary"]["requests"])


def test_markdown_is_a_table_of_the_stages(finished: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.md"
    assert run(finished, "report", "ramp", "--format", "markdown", "-o", str(path)) == 0
    text = path.read_text()
    assert text.startswith("# Load test shop/ramp\n")
    assert "| 1 | 10 users |" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {9}


def test_a_report_in_a_file_needs_no_cluster(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(ramp()))
    out = tmp_path / "out.html"
    assert main(["report", str(path), "-o", str(out)]) == 0
    assert "SLOMet" in out.read_text()


def test_each_error_is_one_sentence(
    finished: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    waiting = {"metadata": {"name": "new", "namespace": "shop"}, "status": {"state": "Queued"}}
    finished.objects[f"{TESTS}/new"] = waiting
    finished.objects[f"{TESTS}/mute"] = {**waiting, "status": {"state": "Complete"}}
    old = tmp_path / "old.json"
    old.write_text('{"version": 2}')
    messages = {}
    for name in (
        "absent",
        "new",
        "mute",
        "cmp/ramp",
        "pod/ramp",
        str(old),
        str(tmp_path / "no.json"),
    ):
        assert run(finished, "report", name) == 1
        messages[name] = capsys.readouterr().err
    assert "there is no LoadTest 'absent' in namespace 'shop'" in messages["absent"]
    assert "has no report yet (it is Queued)" in messages["new"]
    assert "is complete, but has no report: kubectl describe lt/mute" in messages["mute"]
    assert "there is no Comparison 'ramp'" in messages["cmp/ramp"]
    assert "only load tests and comparisons have reports" in messages["pod/ramp"]
    assert "are the plugin and the operator of the same version?" in messages[str(old)]
    assert "can't be read: No such file" in messages[str(tmp_path / "no.json")]
    assert not any("Traceback" in text for text in messages.values())


def test_a_cluster_that_is_unreachable_or_unknown_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "ramp", "--kubeconfig", str(tmp_path / "none")]) == 1
    assert "no cluster is configured" in capsys.readouterr().err
    away = tmp_path / "away"
    away.write_text(
        json.dumps(
            {
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "a", "user": {}}],
            }
        )
    )
    assert main(["report", "ramp", "--kubeconfig", str(away)]) == 1
    assert "the cluster at http://127.0.0.1:1 does not respond" in capsys.readouterr().err


def test_predict_writes_the_image_that_the_steps_lead_to(serving: Any, tmp_path: Path) -> None:
    events = "".join(
        f'event: step\ndata: {{"step": {step}, "steps": 4}}\n\n' for step in range(1, 5)
    )
    events += f"event: images\ndata: {answer(b'png bytes')}\n\n"
    serving.predict = (200, "text/event-stream", events.encode())
    out = tmp_path / "circle.png"
    assert run(serving, "predict", "demo", "a red circle", "-o", str(out), "--seed", "7") == 0
    assert out.read_bytes() == b"png bytes"
    ((path, body, headers),) = serving.posted
    assert path == PREDICT
    assert body == {"prompt": "a red circle", "seed": 7, "format": "png"}
    assert headers["authorization"] == "Bearer my-token"  # the cluster's, not the service's
    assert "text/event-stream" in headers["accept"]


def test_predict_takes_an_answer_without_events_too(serving: Any, tmp_path: Path) -> None:
    serving.predict = (200, "application/json", answer(b"webp bytes").encode())
    out = tmp_path / "circle.webp"
    assert run(serving, "predict", "demo", "a red circle", "-o", str(out)) == 0
    assert out.read_bytes() == b"webp bytes"
    assert serving.posted[0][1]["format"] == "webp"


@pytest.mark.parametrize(
    ("predict", "sentence"),
    [
        (
            (422, "application/problem+json", b'{"detail": "steps is at most 50"}'),
            "the service returned 422: steps is at most 50",
        ),
        (
            (
                200,
                "text/event-stream",
                b'event: problem\ndata: {"status": 504, "title": "Late"}\n\n',
            ),
            "the service returned 504: Late",
        ),
        ((200, "text/event-stream", b""), "closed the connection before the image was complete"),
        ((200, "text/html", b"<html>"), "is not JSON: is the service a DiffusionService?"),
        ((503, "text/plain", b"no endpoints"), "the service returned 503: is it Ready?"),
    ],
)
def test_an_error_of_the_service_is_quoted(
    serving: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, predict: Any, sentence: str
) -> None:
    serving.predict = predict
    out = tmp_path / "out.png"
    assert run(serving, "predict", "demo", "a red circle", "-o", str(out)) == 1
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_file_of_no_known_format_is_refused_before_anything_is_asked(
    serving: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(serving, "predict", "demo", "a red circle", "-o", "out.gif") == 1
    assert "must end in one of .png, .jpg, .jpeg, .webp" in capsys.readouterr().err
    assert serving.posted == []


def test_kubectl_finds_the_plugin_by_its_name() -> None:
    installed = Path(sys.executable).with_name("kubectl-diffusion")
    assert installed.exists(), "install the project: it declares the program"
