"""A hub on loopback with the Hugging Face Hub's HTTP API.

Large files have a host of their own, as in the real hub. Faults can be set: a slow or broken
connection, an overloaded server.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

_LARGE = (".safetensors", ".bin", ".ckpt")
_SIGNATURE = "Signature=signed-for-a-while"


@dataclass
class Repo:
    """A repository; `revisions` has the files of each branch, tag or commit."""

    revisions: dict[str, dict[str, bytes]]
    token: str | None = None
    """The token that a client needs to see the repository; None: no token is needed."""
    gated: bool = False
    """Whether all clients may list the files, and none may read them."""

    def commit(self, revision: str) -> str:
        tree = sorted((path, _blob(content)) for path, content in self.revisions[revision].items())
        return hashlib.sha1(repr(tree).encode()).hexdigest()  # noqa: S324 - git's

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and the files of a branch, tag or commit."""
        for name in self.revisions:
            if revision in (name, self.commit(name)):
                return self.commit(name), self.revisions[name]
        return None


@dataclass
class Faults:
    cut_after: int | None = None
    """Bytes after which the next `cuts` larger answers break off."""
    cuts: int = 0
    bytes_per_second: int | None = None
    overloaded: int = 0
    """The number of next downloads that are answered with 503."""
    wrong_bytes: bool = False
    no_ranges: bool = False


@dataclass
class LocalHub:
    """The hub as a context manager. `served` counts the bytes of content by path."""

    repos: dict[str, Repo] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    served: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, str]] = field(default_factory=list)
    keys_at_the_store: list[str] = field(default_factory=list)
    """Authorization headers that reached the large files' host, which must get none."""
    host: str = "127.0.0.1"
    """The address to listen at."""
    ports: tuple[int, int] = (0, 0)
    """Ports of the API and of the large files' host; 0: any free port."""

    def __enter__(self) -> Self:
        self._servers = [
            _Server((self.host, port), handler, self)
            for port, handler in zip(self.ports, (_Api, _Store), strict=True)
        ]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.endpoint, self.store = (
            f"http://localhost:{self._servers[0].server_port}",
            # Another host reveals a client that sends its token to every host.
            f"http://127.0.0.1:{self._servers[1].server_port}",
        )
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def blob(self, digest: str) -> tuple[str, bytes]:
        """Path and content of a large file by its checksum."""
        for repo in self.repos.values():
            for files in repo.revisions.values():
                for path, content in files.items():
                    if _sha256(content) == digest:
                        return path, content
        raise KeyError(digest)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], hub: LocalHub
    ) -> None:
        super().__init__(address, handler)
        self.hub = hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores lost connections: some tests kill their client."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> LocalHub:
        assert isinstance(self.server, _Server)
        return self.server.hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.requests.append((self.command, self.path))
        self.answer(urlsplit(self.path).path)

    def answer(self, path: str) -> None:
        raise NotImplementedError

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.reply(status, body, X_Error_Code=code, X_Error_Message=message)

    def content(self, path: str, content: bytes, **headers: str) -> None:
        """Sends the content or a range of it, subject to the faults."""
        faults = self.hub.faults
        if faults.overloaded:
            faults.overloaded -= 1
            self.reply(503)
            return
        begin, total = 0, len(content)
        byte_range = self.headers.get("Range", "")
        if byte_range.startswith("bytes=") and not faults.no_ranges:
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            begin = int(first)
            if begin >= total:
                self.reply(416, Content_Range=f"bytes */{total}")
                return
            content = content[begin : int(last) + 1 if last else total]
            ends = begin + len(content) - 1
            headers["Content_Range"] = f"bytes {begin}-{ends}/{total}"
        self.send_response(206 if "Content_Range" in headers else 200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command != "HEAD":
            self._send(path, content)

    def _send(self, path: str, content: bytes) -> None:
        faults = self.hub.faults
        if faults.wrong_bytes and path.endswith(_LARGE):
            content = content[:-1] + bytes([content[-1] ^ 1])
        if faults.cut_after is not None and faults.cuts and len(content) > faults.cut_after:
            faults.cuts -= 1
            content = content[: faults.cut_after]
            self.close_connection = True
        piece = 64 * 1024
        for begin in range(0, len(content), piece):
            part = content[begin : begin + piece]
            self.wfile.write(part)
            self.hub.served[path] += len(part)
            if faults.bytes_per_second:
                time.sleep(len(part) / faults.bytes_per_second)


class _Api(_Handler):
    """The API: `/api/models/…` and `/org/repo/resolve/revision/path`."""

    def answer(self, path: str) -> None:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            revision = parts[5] if parts[4:5] == ["revision"] else "main"
            self._info("/".join(parts[2:4]), revision)
        elif parts[2:3] == ["resolve"]:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self.refuse(404, "", "no such route")

    def _visible(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given.startswith("expired"):
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif repo is None or (repo.token is not None and given != repo.token):
            # The real hub does not distinguish the two either.
            status = 404 if given else 401
            self.refuse(status, "RepoNotFound", "Repository not found")
        else:
            return repo
        return None

    def _info(self, name: str, revision: str) -> None:
        if (repo := self._visible(name)) is None:
            return
        if (at_revision := repo.files(revision)) is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        commit, files = at_revision
        with_blobs = parse_qs(urlsplit(self.path).query).get("blobs") in (["true"], ["True"])
        siblings = [_sibling(path, content, with_blobs) for path, content in files.items()]
        document = {
            "id": name,
            "modelId": name,
            "sha": commit,
            "private": repo.token is not None,
            "gated": "manual" if repo.gated else False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
        }
        self.reply(200, json.dumps(document).encode(), Content_Type="application/json")

    def _resolve(self, name: str, revision: str, path: str) -> None:
        if (repo := self._visible(name)) is None:
            return
        if repo.gated:
            self.refuse(403, "GatedRepo", f"Access to model {name} is restricted")
            return
        if (at_revision := repo.files(revision)) is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        commit, files = at_revision
        if (content := files.get(path)) is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        if path.endswith(_LARGE):
            digest = _sha256(content)
            self.reply(
                302,
                Location=f"{self.hub.store}/{digest}?{_SIGNATURE}",
                X_Repo_Commit=commit,
                X_Linked_Etag=f'"{digest}"',
                X_Linked_Size=str(len(content)),
            )
            return
        self.content(path, content, X_Repo_Commit=commit, ETag=f'"{_blob(content)}"')


class _Store(_Handler):
    """The host of the large files: `/checksum?Signature=…`."""

    def answer(self, path: str) -> None:
        if (key := self.headers.get("Authorization")) is not None:
            self.hub.keys_at_the_store.append(key)
        if urlsplit(self.path).query != _SIGNATURE:
            self.reply(403)
            return
        name, content = self.hub.blob(path.strip("/"))
        self.content(name, content, ETag=f'"{path.strip("/")}"')


def _sibling(path: str, content: bytes, with_blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": path}
    if with_blobs:
        sibling |= {"size": len(content), "blobId": _blob(content)}
        if path.endswith(_LARGE):
            lfs = {"sha256": _sha256(content), "size": len(content), "pointerSize": 134}
            sibling["lfs"] = lfs
    return sibling


@cache
def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - git's
