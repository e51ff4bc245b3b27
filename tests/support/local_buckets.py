"""Bucket servers on loopback: moto's S3 in a process, and the read API of Google's."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

from ports import free_port
from waiting import eventually

REGION = "eu-central-1"


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Runs an S3 server that accepts any key; yields its endpoint."""
    port = free_port()
    environ = {**os.environ, "AWS_DEFAULT_REGION": REGION}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(f"{endpoint}/moto-api/"), forgive=OSError, what=endpoint)
        yield endpoint
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    with urlopen(url, timeout=5):
        return True


def require_rights(endpoint: str, requests_without: int) -> None:
    """Makes moto's S3 server check credentials after that many requests."""
    url = f"{endpoint}/moto-api/reset-auth"
    body = str(requests_without).encode()
    with urlopen(Request(url, body, {"Content-Type": "text/plain"}), timeout=10):
        pass


class GoogleBuckets:
    """A server of `objects` by bucket and name. With a `token`, it refuses all requests."""

    def __init__(self, objects: dict[str, dict[str, bytes]], token: str | None = None) -> None:
        self.objects = objects
        self.token = token
        self.overloaded = 0
        """The number of next downloads that are answered with 503."""
        self.ranges: list[str] = []

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (_Google,), {"its": self}))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Google(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    its: GoogleBuckets

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        match = re.fullmatch(r"(/download)?/storage/v1/b/([^/]+)/o(?:/(.+))?", address.path)
        if self.its.token is not None:
            self._error(403, "does not have storage.objects.list access")
        elif match is None or (bucket := self.its.objects.get(match[2])) is None:
            self._error(404, "The specified bucket does not exist.")
        elif match[3] is None:
            prefix = query.get("prefix", [""])[0]
            names = [name for name in sorted(bucket) if name.startswith(prefix)]
            items = [_described(match[2], name, bucket[name]) for name in names]
            self._json({"kind": "storage#objects", "items": items})
        elif (content := bucket.get(unquote(match[3]))) is None:
            self._error(404, "No such object")
        elif match[1] or query.get("alt") == ["media"]:
            self._media(content)
        else:
            self._json(_described(match[2], unquote(match[3]), content))

    def _media(self, content: bytes) -> None:
        if self.its.overloaded:
            self.its.overloaded -= 1
            self._error(503, "Backend Error")
            return
        byte_range = self.headers.get("Range", "")
        self.its.ranges.append(byte_range)
        first, _, last = byte_range.removeprefix("bytes=").partition("-")
        begin, total = int(first or 0), len(content)
        content = content[begin : int(last) + 1 if last else total]
        span = f"bytes {begin}-{begin + len(content) - 1}/{total}"
        self._reply(
            206 if byte_range else 200, content, **({"Content-Range": span} if byte_range else {})
        )

    def _json(self, document: dict[str, Any], status: int = 200) -> None:
        self._reply(status, json.dumps(document).encode(), **{"Content-Type": "application/json"})

    def _error(self, status: int, message: str) -> None:
        self._json({"error": {"code": status, "message": message}}, status)

    def _reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _described(bucket: str, name: str, content: bytes) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "id": f"{bucket}/{name}/1",
        "size": str(len(content)),
        "generation": str(len(content)),
        "etag": f"e{hash(content)}",
        "updated": "2026-01-02T03:04:05.000Z",
        "timeCreated": "2026-01-02T03:04:05.000Z",
    }
