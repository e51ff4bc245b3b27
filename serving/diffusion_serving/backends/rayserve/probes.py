"""The probes of a cluster's worker, whose other routes are on the head."""

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from diffusion_serving.engine.errors import NotReady
from diffusion_serving.http.responses.problems import NOT_FOUND, Problem, from_request_error
from diffusion_serving.http.responses.replies import Reply, problem_reply
from diffusion_serving.http.server.listener import resolved

_ELSEWHERE = Problem(NOT_FOUND, "A cluster's worker has no such route; the cluster's head has it.")


class Probes:
    """A server of GET /healthz and /readyz, on a thread of its own while it is entered.

    `why_not_ready` returns a sentence why the worker isn't ready, None if it is.
    """

    def __init__(self, host: str, port: int, why_not_ready: Callable[[], str | None]) -> None:
        def answer(path: str) -> Reply:
            match path:
                case "/healthz":
                    return Reply(200, json.dumps({"status": "alive"}).encode())
                case "/readyz":
                    if (why := why_not_ready()) is not None:
                        return problem_reply(from_request_error(NotReady(why)))
                    return Reply(200, json.dumps({"status": "ready"}).encode())
                case _:
                    return problem_reply(_ELSEWHERE)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                reply = answer(self.path)
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.media_type)
                self.send_header("Content-Length", str(len(reply.body)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                """Logs no request: probes are too many."""

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in resolved(host) else socket.AF_INET

            def server_bind(self) -> None:
                if self.address_family == socket.AF_INET6:
                    # One socket for both families, whatever the system's default is.
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                super().server_bind()

        self._server = Server((resolved(host), port), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
