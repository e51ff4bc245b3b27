"""API keys: the file, its replacement, and requests without a key."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.http.auth import Keys
from diffusion_serving.http.responses.image_encoding import encode
from diffusion_serving.http.route_table import OPEN_PATHS, ROUTES
from diffusion_serving.observability.startup_errors import InvalidConfiguration


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("first\n")
    return path


def mounted(folder: Path, version: str, content: str) -> Path:
    """A Secret as the kubelet mounts it: the file's path goes through a link that is swapped."""
    data = folder / version
    data.mkdir(parents=True)
    (data / "key").write_text(content)
    swap = folder / "..data_tmp"
    swap.symlink_to(version)
    swap.rename(folder / "..data")
    name = folder / "key"
    if not name.is_symlink():
        name.symlink_to("..data/key")
    return name


def test_each_line_is_a_key_without_the_blanks_around_it(file: Path) -> None:
    file.write_bytes(b"  one \r\n\n\ttwo\n")
    keys = Keys(file)
    assert [keys.admit(key) for key in (b"one", b"two", b"", b"on", b" one ", b"one\r")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_file_without_a_key_is_refused_at_the_start(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(InvalidConfiguration, match="is empty: write one key on each line"):
        Keys(file)


def test_missing_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"cannot be read \(No such file"):
        Keys(tmp_path / "key")


def test_file_that_holds_something_else_is_refused_at_the_start(file: Path) -> None:
    file.write_bytes(b"x" * 100_000)
    with pytest.raises(InvalidConfiguration, match="longer than 65536 bytes"):
        Keys(file)


def test_keys_are_replaced_while_serving_as_the_kubelet_does_it(tmp_path: Path) -> None:
    keys = Keys(mounted(tmp_path, "..1", "first"))
    mounted(tmp_path, "..2", "first\nsecond")
    assert [keys.admit(b"first"), keys.admit(b"second")] == [True, True]
    mounted(tmp_path, "..3", "second")
    assert [keys.admit(b"first"), keys.admit(b"second")] == [False, True]


@pytest.mark.parametrize("change", [Path.unlink, lambda file: file.write_text("")])
def test_file_that_loses_its_keys_admits_no_request_until_it_has_some(
    file: Path, change: Callable[[Path], Any], caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keys(file)
    change(file)
    assert not keys.admit(b"first")
    assert not keys.admit(b"")
    assert "every key is refused" in caplog.text
    file.write_text("second")
    assert keys.admit(b"second")


def test_keys_are_never_logged(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    keys = Keys(file)
    file.write_text("hush-hush")
    os.utime(file, ns=(1, 1))
    assert keys.admit(b"hush-hush")
    assert "hush" not in repr([vars(record) for record in caplog.records])


@pytest.fixture
def client(make_stack: Any, file: Path) -> Any:
    return make_stack(auth={"apiKeyFile": str(file)}).client


@pytest.mark.parametrize(("method", "path"), [(r.method, r.path) for r in ROUTES])
async def test_route_needs_a_key_unless_probes_or_readers_use_it_without_one(
    client: Any, method: str, path: str
) -> None:
    body: dict[str, Any] = {"json": {"prompt": "x"}} if method == "POST" else {}
    if path == "/verify":
        picture = encode(Picture(8, 8, bytes(192)), "png")
        body = {"content": picture, "headers": {"Content-Type": "image/png"}}
    answer = await client.request(method, path, **body)
    assert (answer.status_code == 401) == (path not in OPEN_PATHS)
    headers = body.pop("headers", {}) | {"Authorization": "Bearer first"}
    with_key = await client.request(method, path, headers=headers, **body)
    assert with_key.status_code in (200, 307)


async def test_unknown_paths_ask_for_a_key_too(client: Any) -> None:
    assert (await client.get("/info")).status_code == 401
    assert (await client.get("/healthz/x")).status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer second", "Bearer", "Bearer ", "first", "Basic first", "Bearer first first"]
)
async def test_wrong_key_is_refused_with_the_header_to_send(client: Any, header: str) -> None:
    answer = await client.get("/about", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith('Bearer realm="diffusion"')
    assert "Authorization: Bearer KEY" in answer.json()["detail"]
    assert "second" not in answer.text


async def test_scheme_is_read_in_any_case(client: Any) -> None:
    answer = await client.get("/about", headers={"Authorization": "bearer first"})
    assert answer.status_code == 200


async def test_refusal_is_counted(make_stack: Any, file: Path) -> None:
    stack = make_stack(auth={"apiKeyFile": str(file)})
    await stack.client.post("/predict", json={"prompt": "x"})
    assert stack.sample("diffusion_requests_total", route="/predict", code="401") == 1


async def test_description_says_that_a_key_is_needed(client: Any, make_stack: Any) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == (path not in OPEN_PATHS)
            assert ("401" in operation["responses"]) == (path not in OPEN_PATHS)
    assert "Authorization: Bearer KEY" in (await client.get("/docs")).text
    free = (await make_stack().client.get("/openapi.json")).json()
    assert "securitySchemes" not in free["components"]
