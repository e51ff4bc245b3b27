"""The read API of S3, for a pod whose image has no S3 server. Standard library only."""

import re
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


def s3_server(
    host: str,
    port: int,
    bucket: str,
    objects: Mapping[str, bytes],
    access_key: str,
    *,
    pause: Callable[[int], object] = lambda _: None,
) -> ThreadingHTTPServer:
    """A server of one bucket that requires that access key, and checks no signature.

    Before the server sends a range of an object, it calls ``pause`` with the range's first byte.
    """
    its: dict[str, Any] = {"bucket": bucket, "objects": objects, "access_key": access_key}
    its["pause"] = staticmethod(pause)
    return ThreadingHTTPServer((host, port), type("Handler", (_Handler,), its))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: str
    objects: Mapping[str, bytes]
    access_key: str
    pause: Callable[[int], object]

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        _, bucket, *rest = unquote(address.path).split("/", 2)
        key = rest[0] if rest else ""
        if f"Credential={self.access_key}/" not in self.headers.get("Authorization", ""):
            self._refuse(403, "AccessDenied")
        elif bucket != self.bucket:
            self._refuse(404, "NoSuchBucket")
        elif not key:
            self._list(parse_qs(address.query).get("prefix", [""])[0])
        elif key not in self.objects:
            self._refuse(404, "NoSuchKey")
        else:
            self._send_object(self.objects[key])

    def _list(self, prefix: str) -> None:
        contents = [
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>{_tag(content)}"
            "</ETag><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>"
            for key, content in self.objects.items()
            if key.startswith(prefix)
        ]
        self._xml(
            200,
            f"<ListBucketResult><Name>{self.bucket}</Name><KeyCount>{len(contents)}</KeyCount>"
            f"<IsTruncated>false</IsTruncated>{''.join(contents)}</ListBucketResult>",
        )

    def _send_object(self, content: bytes) -> None:
        headers = {"ETag": _tag(content), "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}
        byte_range = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if byte_range is None:
            self._send(200, content, headers)
            return
        self.pause(int(byte_range[1]))
        begin, end = int(byte_range[1]), min(int(byte_range[2] or len(content)) + 1, len(content))
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(content)}"
        self._send(206, content[begin:end], headers)

    def _refuse(self, status: int, code: str) -> None:
        self._xml(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")

    def _xml(self, status: int, text: str) -> None:
        self._send(status, text.encode(), {"Content-Type": "application/xml"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _tag(content: bytes) -> str:
    return f'"{len(content)}"'
