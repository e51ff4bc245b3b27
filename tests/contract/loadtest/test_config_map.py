"""Progress and report reach the ConfigMap although the API server fails now and then."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


class ApiServer(ThreadingHTTPServer):
    """Takes patches of one ConfigMap, and answers reports with `report_faults` first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.patches: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.data: dict[str, str] = {}
        self.report_faults: list[int] = []


class Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"

    def do_PATCH(self) -> None:
        patch = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((self.command, self.path, self.headers["content-type"]))
        status = 200
        if "report.json" in patch["data"] and self.server.report_faults:
            status = self.server.report_faults.pop(0)
        else:
            self.server.data |= patch["data"]
            self.server.patches.append(patch)
        body = json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "demo-load-loadtest"}}
            if status == 200
            else {"kind": "Status", "status": "Failure", "code": status}
        ).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def kubeconfig(api: ApiServer, folder: Path) -> str:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [
                    {
                        "name": "test",
                        "cluster": {"server": f"http://127.0.0.1:{api.server_port}"},
                    }
                ],
                "users": [{"name": "test", "user": {"token": "made-up"}}],
            }
        )
    )
    return str(path)


def test_progress_and_report_are_merged_into_the_config_map(
    serve: Any, runner: Any, api: ApiServer, tmp_path: Path
) -> None:
    # The server fails, the ConfigMap is missing, the right is missing: each refuses one patch.
    api.report_faults = [500, 404, 403]
    server = serve(lambda _: (0.05, "ok"))
    document = server.plan([(2, 4.5)], report={"configMap": "demo-load-loadtest"})
    code, printed = runner.finish(runner.start(document, KUBECONFIG=kubeconfig(api, tmp_path)))

    assert code == 0, printed
    path = "/api/v1/namespaces/default/configmaps/demo-load-loadtest"
    assert {(method, route.split("?")[0], kind) for method, route, kind in api.requests} == {
        ("PATCH", path, "application/merge-patch+json")
    }
    assert api.report_faults == []
    assert json.loads(api.data["report.json"]) == runner.read("report.json")
    states = [json.loads(p["data"]["progress.json"])["state"] for p in api.patches]
    assert states[0] in {"Waiting", "Running"}
    assert states[-1] == "Finished"
    # One patch holds both the report and the final state.
    assert [set(p["data"]) for p in api.patches][-1] == {"progress.json", "report.json"}
    counts = [json.loads(p["data"]["progress.json"])["requests"] for p in api.patches]
    assert counts == sorted(counts)
    assert counts[-1] == len(server.served)
    moving = [count for count, state in zip(counts, states, strict=True) if state == "Running"]
    assert 0 < moving[-1] <= counts[-1]
    assert moving[0] < counts[-1]


def test_unreachable_target_and_refused_report_are_explained_in_sentences(
    runner: Any, make_plan: Any, api: ApiServer, tmp_path: Path
) -> None:
    api.report_faults = [422]
    document = make_plan(
        "http://127.0.0.1:9", [(1, 1.0)], report={"configMap": "demo-load-loadtest"}
    )
    process = runner.start(document, "--wait", "1", KUBECONFIG=kubeconfig(api, tmp_path))
    code, printed = runner.finish(process)

    assert code == 1, printed
    message = json.loads(runner.termination_log.read_text())
    assert (message["reason"], message["summary"]["requests"]) == ("ReportNotPublished", 0)
    # The folder and the log hold the report that the ConfigMap lacks.
    report = runner.read("report.json")
    assert report["error"]["reason"] == "TargetUnreachable"
    assert "127.0.0.1:9 was not ready within 1 s: Connection refused" in report["error"]["message"]
    assert (report["summary"]["requests"], report["stages"]) == (0, [])
    assert runner.read("progress.json")["state"] == "Failed"
    finished = next(json.loads(line) for line in printed.splitlines() if '"finished"' in line)
    assert finished["error"] == "TargetUnreachable"
