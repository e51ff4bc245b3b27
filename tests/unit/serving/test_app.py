"""Paths with a slash at their end, HEAD, and the paths that a framework itself answers."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from diffusion_serving.http.app import create_app

MAKE = {"prompt": "x", "width": 64, "height": 64, "steps": 1}
BEHIND_TLS = {"Host": "img.example", "X-Forwarded-Proto": "https"}


async def test_slash_behind_a_path_is_served_without_a_redirect(make_stack: Any) -> None:
    """A redirect named http:// and no prefix, so that clients sent prompt and key in clear."""
    client = make_stack().client
    answer = await client.post("/predict/", json=MAKE, headers=BEHIND_TLS)
    assert answer.status_code == 200
    for path in ("/healthz/", "/v1/models/", "/about/"):
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("page", ["ui", "docs"])
async def test_slash_behind_a_page_leads_to_it_within_any_prefix(
    make_stack: Any, page: str
) -> None:
    answer = await make_stack().client.get(f"/{page}/", headers=BEHIND_TLS)
    assert (answer.status_code, answer.headers["location"]) == (307, f"../{page}")


@pytest.mark.parametrize("path", ["/nothing/", "//predict/x/"])
async def test_unknown_path_with_a_slash_is_not_there(make_stack: Any, path: str) -> None:
    assert (await make_stack().client.get(path)).status_code == 404


async def test_key_is_needed_with_and_without_a_slash(make_stack: Any, tmp_path: Any) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k\n")
    client = make_stack(auth={"apiKeyFile": str(keys)}).client
    assert {
        (await client.post(path, json=MAKE)).status_code for path in ("/predict", "/predict/")
    } == {401}
    assert (await client.get("/ui/")).status_code == 307


async def test_paths_of_a_framework_take_head_as_all_others_do(make_stack: Any) -> None:
    async def running(_: Any) -> PlainTextResponse:
        return PlainTextResponse("running")

    framework = Starlette(routes=[Route("/", running, methods=["GET"])])
    framework.routes[0].methods = {"GET"}  # type: ignore[attr-defined] # as FastAPI's routes have it
    stack = make_stack()
    app = create_app(stack.service, stack.metrics, {"/": framework})
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://test"
    ) as client:
        assert (await client.head("/")).status_code == 200
        assert (await client.head("/healthz")).status_code == 200
