import fcntl
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from build import build, only_one
from image_build import registry
from image_build.engines import Docker, superfluous
from image_build.inputs import IMAGES, Image
from image_build.progress import BuildError, Progress


class Manifests(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        known = "/v2/team/diffusion-operator/manifests/abc"
        wants_oci = "application/vnd.oci.image.manifest.v1+json" in self.headers["Accept"]
        self.send_response(200 if self.path == known and wants_oci else 404)
        self.end_headers()

    def log_request(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Manifests) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_only_a_tag_that_the_registry_has_is_not_pushed_again(address: str) -> None:
    there = f"{address}/team"
    assert registry.holds(there, "diffusion-operator", "abc", plain_http=True)
    assert not registry.holds(there, "diffusion-operator", "abd", plain_http=True)
    assert not registry.holds(address, "diffusion-operator", "abc", plain_http=True)


def test_a_registry_that_does_not_answer_counts_as_empty(address: str) -> None:
    assert not registry.holds(address, "diffusion-operator", "abc", plain_http=False)


@pytest.mark.parametrize(
    ("where", "plain"),
    [
        ("127.0.0.1:5000", True),
        ("[::1]:5000/team", True),
        ("localhost:5000", True),
        ("registry.localcluster:5000", True),
        ("ghcr.io/team", False),
        ("10.0.0.1:5000", False),
        ("localcluster.example.org", False),
    ],
)
def test_plain_http_is_for_this_machine_and_the_local_cluster(where: str, plain: bool) -> None:
    assert registry.speaks_plain_http(where) is plain


@pytest.mark.parametrize(
    ("newest_first", "current", "removed"),
    [
        (["c", "b", "a"], "c", ["a"]),
        (["c", "b", "a"], "a", ["b"]),
        (["c", "b"], "c", []),
        (["c", "c", "b", "a"], "c", ["a"]),
        ([], "c", []),
    ],
)
def test_the_current_tag_and_one_before_it_are_kept(
    newest_first: list[str], current: str, removed: list[str]
) -> None:
    assert superfluous(newest_first, current) == removed


def run(log: Path, script: str, *keep_open: int) -> None:
    Progress().run(
        "image", ["sh", "-c", script], log=log, env=dict(os.environ), keep_open=keep_open
    )


def test_steps_that_run_are_shown_and_cached_ones_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buildah = (
        "[1/2] STEP 1/9: FROM base\n[1/2] STEP 2/9: COPY a /a\n--> Using cache 12\n"
        "[1/2] STEP 3/9: RUN --mount=type=cache,target=/c   make all\nhello\n"
    )
    buildkit = "#5 [operator 3/9] COPY c /c\n#5 CACHED\n#6 [operator 4/9] RUN go\n#6 DONE 1s\n"
    output = tmp_path / "output"
    output.write_text(buildah + buildkit)
    run(tmp_path / "logs" / "image.log", f"cat {output}")
    shown = [line.split("s] image     ")[1] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["RUN make all", "RUN go"]
    assert (tmp_path / "logs" / "image.log").read_text() == buildah + buildkit


def test_a_failed_build_shows_its_last_lines_and_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="exit code 3") as caught:
        run(tmp_path / "image.log", "seq 100; echo no space left >&2; exit 3")
    assert "    no space left" in str(caught.value)
    assert str(tmp_path / "image.log") in str(caught.value)
    assert "    1\n" not in str(caught.value)


def test_a_second_build_waits_for_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []

    def second() -> None:
        with only_one(tmp_path / "lock", Waiting(started_waiting)):
            order.append("second")

    class Waiting(Progress):
        def __init__(self, event: threading.Event) -> None:
            super().__init__()
            self.event = event

        def say(self, subject: str, text: str) -> None:
            super().say(subject, text)
            self.event.set()

    started_waiting = threading.Event()
    thread = threading.Thread(target=second)
    with only_one(tmp_path / "lock", Progress()):
        thread.start()
        assert started_waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert "another build is running" in capsys.readouterr().err


def test_a_child_holds_the_lock_when_its_parent_is_gone(tmp_path: Path) -> None:
    end_read, end_write = os.pipe()
    begun_read, begun_write = os.pipe()
    child = f"import os; os.write({begun_write}, b'x'); os.read({end_read}, 1)"
    with only_one(tmp_path / "lock", Progress()) as lock:
        thread = threading.Thread(
            target=Progress().run,
            args=("image", [sys.executable, "-c", child]),
            kwargs={
                "log": tmp_path / "log",
                "env": {},
                "keep_open": (lock, end_read, begun_write),
            },
        )
        thread.start()
        os.read(begun_read, 1)
    with (tmp_path / "lock").open("w") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(end_write, b"x")
        thread.join(10)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for descriptor in (end_read, end_write, begun_read, begun_write):
        os.close(descriptor)


class Builds(Docker):
    """An engine that records the stages and images to build, in order."""

    def __init__(self, failing: str = "") -> None:  # no context: no command is run
        self.built: list[str] = []
        self.failing = failing

    def prepare(self, base: str) -> None:
        self.built.append(f"prepared on {base}")

    def build_stage(self, stage: str, base: str) -> None:
        if stage == self.failing:
            raise BuildError(f"no {stage} on {base}")
        self.built.append(stage)

    def build(self, image: Image, tag: str, base: str) -> None:
        assert (tag, base) == ("1", "base")
        self.built.append(image.target)


TAGS = {image.name: "1" for image in IMAGES}


def test_a_shared_stage_is_built_once_and_before_its_images() -> None:
    engine = Builds()
    build(engine, list(IMAGES), TAGS, "base", Progress())
    assert engine.built[0] == "prepared on base"
    assert engine.built.count("serving") == 1
    assert sorted(engine.built[1:]) == sorted([*(image.target for image in IMAGES), "serving"])
    for backend in ("fastapi", "litserve", "rayserve"):
        assert engine.built.index("serving") < engine.built.index(backend)


def test_an_image_without_a_shared_stage_is_built_alone() -> None:
    engine = Builds()
    build(
        engine, [image for image in IMAGES if image.target == "operator"], TAGS, "base", Progress()
    )
    assert engine.built == ["prepared on base", "operator"]


def test_if_the_shared_stage_fails_the_other_images_are_built_and_the_build_fails() -> None:
    engine = Builds(failing="serving")
    with pytest.raises(BuildError, match="no serving"):
        build(engine, list(IMAGES), TAGS, "base", Progress())
    assert sorted(engine.built) == ["loadtest", "operator", "prepared on base"]
