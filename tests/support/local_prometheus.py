"""A server with Prometheus' HTTP API for instant queries."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

Answer = tuple[int, str]


def vector(*values: str) -> Answer:
    """An instant vector with these samples."""
    samples = [{"metric": {"gpu": str(i)}, "value": [0, each]} for i, each in enumerate(values)]
    return success("vector", samples)


def success(kind: str, result: Any) -> Answer:
    return 200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def refusal(error: str) -> Answer:
    return 400, json.dumps({"status": "error", "errorType": "bad_data", "error": error})


class LocalPrometheus:
    """A server that answers each query by `answer`, and records the requests."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.answer = answer
        self.requests: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        prometheus = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                prometheus.requests.append({"path": self.path, **form})
                status, text = prometheus.answer(form["query"])
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: Any) -> None:
                """Keeps the requests out of the test's output; the tests use `requests`."""

        return Handler
