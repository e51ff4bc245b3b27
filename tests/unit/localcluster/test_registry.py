import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from localcluster import registry
from localcluster.references import Reference

REFERENCE = Reference("team/app", "1")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        exists = self.path == "/v2/team/app/manifests/1"
        self.send_response(200 if exists else 404)
        self.send_header("Docker-Content-Digest", "sha256:aa")
        self.end_headers()
        self.wfile.write(json.dumps({"config": {"digest": "sha256:bb"}}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_image_in_the_registry_is_identified_by_its_digests(host: str) -> None:
    assert registry.held(host, REFERENCE) == registry.Held(digest="aa", image="bb")


def test_nothing_is_held_by_another_name(host: str) -> None:
    assert registry.held(host, Reference("team/app", "2")) is None


def test_a_registry_that_does_not_answer_holds_nothing() -> None:
    assert registry.held("127.0.0.1:1", REFERENCE) is None
