"""A head declares its applications to Serve; an HTTP server stands in for the dashboard."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from diffusion_serving.backends.rayserve import declared_applications as declared
from diffusion_serving.backends.rayserve.declared_applications import APPLICATIONS, declare
from diffusion_serving.backends.rayserve.node import RayEnded

ENVIRON = {"RAY_AUTH_TOKEN": "t0ken"}
HEAD_RUNS = {"status": "RUNNING", "deployments": {"head": {"message": ""}}}
NO_WORKER = {"status": "DEPLOYING", "deployments": {"replica": {"message": ""}}}
BEING_READ = {"status": "DEPLOYING", "deployments": {}}


class Dashboard:
    """Dashboard that plays `answers` by method and repeats the last one; None hangs up."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, str] | None]] = {"PUT": [(200, "")], "GET": []}
        self.requests: list[tuple[str, str, bytes]] = []
        dashboard = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                dashboard.requests.append((self.command, self.headers["x-ray-authorization"], body))
                answers = dashboard.answers[self.command]
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if answer is not None:
                    self.send_response(answer[0])
                    self.end_headers()
                    self.wfile.write(answer[1].encode())

            def do_PUT(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Logs nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def shows(self, *states: dict[str, Any]) -> None:
        self.answers["GET"] = [(200, json.dumps({"applications": state})) for state in states]


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    monkeypatch.setattr(declared, "_PAUSE_SECONDS", 0.0)
    dashboard = Dashboard()
    dashboard.shows({"head": HEAD_RUNS, "diffusion": NO_WORKER})
    threading.Thread(target=dashboard.server.serve_forever, args=(0.01,)).start()
    yield dashboard
    dashboard.server.shutdown()
    dashboard.server.server_close()


def ray_runs() -> None:
    """Returns without an error: Ray runs."""


def test_the_applications_are_declared_with_the_token(dashboard: Dashboard) -> None:
    declare(dashboard.port, ENVIRON, ray_runs)
    method, token, body = dashboard.requests[0]
    assert (method, token, json.loads(body)) == ("PUT", "Bearer t0ken", APPLICATIONS)


def test_no_proxy_sees_the_token(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(declared, "START_SECONDS", 0.0)
    declare(dashboard.port, ENVIRON, ray_runs)
    assert dashboard.requests


def test_a_dashboard_that_is_not_up_yet_is_asked_again(dashboard: Dashboard) -> None:
    dashboard.answers["PUT"] = [None, (500, "starting"), (200, "")]
    declare(dashboard.port, ENVIRON, ray_runs)
    assert [method for method, _, _ in dashboard.requests] == ["PUT", "PUT", "PUT", "GET"]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_ends_the_declaration_at_once(dashboard: Dashboard, status: int) -> None:
    dashboard.answers["PUT"] = [(status, "no such field")]
    with pytest.raises(RayEnded, match=f"status {status}: no such field"):
        declare(dashboard.port, ENVIRON, ray_runs)
    assert len(dashboard.requests) == 1


def test_the_declaration_waits_until_the_head_runs_and_the_replicas_are_known(
    dashboard: Dashboard,
) -> None:
    dashboard.shows(
        {},
        {"head": BEING_READ, "diffusion": BEING_READ},
        {"head": HEAD_RUNS, "diffusion": BEING_READ},
        {"head": {**HEAD_RUNS, "status": "DEPLOYING"}, "diffusion": NO_WORKER},
        {"head": HEAD_RUNS, "diffusion": NO_WORKER},
    )
    declare(dashboard.port, ENVIRON, ray_runs)
    assert len(dashboard.requests) == 6


@pytest.mark.parametrize("name", ["head", "diffusion"])
def test_an_application_that_serve_gives_up_is_reported_with_its_message(
    dashboard: Dashboard, name: str
) -> None:
    failed = {
        "status": "DEPLOY_FAILED",
        "message": "ImportError: no module",
        "deployments": {"replica": {"message": "tried 3 times"}},
    }
    dashboard.shows({"head": HEAD_RUNS, "diffusion": NO_WORKER, name: failed})
    with pytest.raises(RayEnded, match=f"{name}: ImportError: no module tried 3 times"):
        declare(dashboard.port, ENVIRON, ray_runs)


def test_an_application_that_does_not_start_in_time_is_reported(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declared, "START_SECONDS", -1.0)
    unhealthy = {**HEAD_RUNS, "status": "UNHEALTHY", "message": "the replica ended"}
    dashboard.shows({"head": unhealthy, "diffusion": NO_WORKER})
    with pytest.raises(RayEnded, match=r"the application head is UNHEALTHY\. the replica ended"):
        declare(dashboard.port, ENVIRON, ray_runs)


def test_ray_that_ends_meanwhile_ends_the_wait(dashboard: Dashboard) -> None:
    dashboard.shows({})

    def check() -> None:
        if len(dashboard.requests) > 2:
            raise RayEnded("Ray's processes ended")

    with pytest.raises(RayEnded, match="processes ended"):
        declare(dashboard.port, ENVIRON, check)
