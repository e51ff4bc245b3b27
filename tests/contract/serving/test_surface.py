"""One HTTP surface: the real program with each backend, on a real model and a real socket.

The suite also runs against pods. The tests beside it need a process of their own.
"""

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from PIL import ImageChops

from http_surface import (
    JSON,
    PNG,
    STARTED,
    WAITING,
    Pictures,
    Surface,
    assert_only_waiting_clients_are_served,
    assert_problem,
    picture,
)
from serving_process import (
    KEY,
    SLOW,
    SLOWEST,
    Pool,
    Server,
    Variant,
    descendants,
    eventually,
    living,
    resident_bytes,
)
from signing_certificates import authority, mounted

BLOCKED = 'diffusion_rejected_total{reason="blocked"}'


def test_http_is_up_before_the_model_is_loaded(server: Server) -> None:
    assert {path: answer.status_code for path, answer in server.early.items()} == {
        "/healthz": 200,
        "/readyz": 503,
        "/predict": 503,
        "/about": 200,
    }
    assert_problem(server.early["/readyz"], 503, "still loading")
    (warm,) = [line for line in server.lines() if "load_seconds" in line]
    assert warm["load_seconds"] > 0


class TestPictures(Pictures):
    """Tests of the tiny model's pictures, which torch computes."""


class TestPicturesOfWholeCalls(Pictures):
    """The same on the stand-in, a family without a step loop; that loop is the engine's alone."""

    @pytest.fixture
    def server(self, pool: Pool) -> Server:
        return pool.quick(Variant("fastapi"))


class TestSurface(Surface):
    """The rest of the suite on the stand-in, whose busy engine leaves the cores free."""

    @pytest.fixture
    def server(self, quick: Server) -> Server:
        return quick


def test_blocked_pictures_are_refused_on_each_route_and_others_of_their_batch_are_not(
    quick: Server,
) -> None:
    assert quick.client.get("/about").json()["safety"] == {
        "checker": "hf://acme/decent",
        "action": "Refuse",
    }
    blocked = quick.metric(BLOCKED)
    started = quick.metric(STARTED)
    prompts = ["decent", "indecent"] * 3
    with ThreadPoolExecutor(7) as threads:
        busy = threads.submit(quick.predict, **SLOW)
        eventually(lambda: quick.metric(STARTED) == started + 1)
        answers = list(threads.map(lambda prompt: quick.predict(prompt=prompt), prompts))
        assert busy.result().status_code == 200
    assert [answer.status_code for answer in answers] == [200, 400] * 3
    assert all(answer.json()["timings_ms"]["safety"] > 0 for answer in answers[::2])
    problem = assert_problem(answers[1], 400, "is blocked by the service's safety checker")
    assert problem["type"] == "/docs#blocked"
    body = {"prompt": "indecent", "steps": 3}
    events = quick.client.post("/predict", json=body, headers={"Accept": "text/event-stream"}).text
    assert events.count("event: step") == 3
    assert "event: problem" in events
    client = openai.OpenAI(base_url=f"{quick.url}/v1", api_key="any", max_retries=0)
    with pytest.raises(openai.BadRequestError) as raised:
        client.images.generate(prompt="indecent")
    assert raised.value.code == "content_policy_violation"
    assert quick.metric(BLOCKED) == blocked + 5
    assert quick.metric('diffusion_checked_images_total{verdict="blocked"}') > 0


def test_lora_by_its_name_changes_the_image_of_its_own_request(server: Server) -> None:
    body = {"prompt": "a red circle", "seed": 5}

    def file(**fields: Any) -> bytes:
        answer = server.client.post("/predict", json=body | fields, headers=PNG)
        assert answer.status_code == 200, answer.text
        return answer.content

    plain, adapted = file(), file(lora={"name": "unet"})
    assert ImageChops.difference(picture(plain), picture(adapted)).getbbox() is not None
    assert file(lora={"name": "unet"}) == adapted
    assert file() == plain
    document = assert_problem(server.predict(**body, lora={"name": "none"}), 422, "unet, text")
    assert [error["field"] for error in document["errors"]] == ["lora.name"]


def test_memory_does_not_grow_with_refused_bodies(quick: Server) -> None:
    body = b'{"prompt": "' + b"x" * 30_000_000 + b'"}'
    quick.client.post("/predict", content=body, headers=JSON)
    before = resident_bytes(quick.family)
    for _ in range(5):
        quick.client.post("/predict", content=body, headers=JSON)
    assert resident_bytes(quick.family) - before < 20_000_000


@pytest.mark.full
def test_slow_body_is_cut_off(quick: Server) -> None:
    with socket.create_connection(("127.0.0.1", quick.port), timeout=90) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


@pytest.mark.full
@pytest.mark.parametrize("backend", ["fastapi", "litserve", "rayserve"])
def test_fifty_clients_hang_up_where_images_are_made_one_by_one(pool: Pool, backend: str) -> None:
    assert_only_waiting_clients_are_served(pool.quick(Variant(backend, "none")))


def test_about_names_backend_model_and_device(server: Server, variant: Variant) -> None:
    about = server.client.get("/about").json()
    assert (about["backend"], about["batching"]["mode"]) == (variant.backend, variant.mode)
    assert (about["revision"], about["service"]) == ("tiny-1", "tiny")
    assert about["source"] == "image:///models/tiny"
    assert (about["ready"], about["device"], about["dtype"]) == (True, "cpu", "float32")
    assert about["scheduler"] == "dpm++2m"
    assert (about["generation"]["width"], about["generation"]["steps"]) == (64, 2)
    assert all(re.match(r"\d+\.\d+", version) for version in about["versions"].values())


def test_about_has_the_times_of_the_start_and_of_the_bare_pipeline(server: Server) -> None:
    early, about = server.early["/about"].json(), server.client.get("/about").json()
    assert (early["startup"], early["bare_pipeline"]) == (None, None)
    assert all(seconds > 0 for seconds in about["startup"].values())
    assert set(about["startup"]) == {"load_seconds", "warm_up_seconds", "timing_seconds"}
    assert [call["images"] for call in about["bare_pipeline"]] == [1, 2, 4, 8]
    assert all(call["seconds"] > 0 for call in about["bare_pipeline"])
    assert about["startup"]["timing_seconds"] <= about["uptime_seconds"]


def test_about_has_the_memory_of_all_processes(server: Server) -> None:
    used = server.client.get("/about").json()["usage"]
    assert used["memory_peak_bytes"] > 0.9 * resident_bytes(server.family)
    assert used["device_memory_peak_bytes"] is None  # on a CPU the device's memory is the machine's
    assert (used["energy_joules"], used["device_busy_seconds"]) == (None, None)


def test_output_is_json_lines_without_prompts(server: Server) -> None:
    server.predict(prompt="a secret wish " * 20)
    server.predict(prompt="a secret wish", steps=0)
    server.client.get("/predict?prompt=secret")
    eventually(lambda: [line for line in server.lines() if line.get("status") == 405])
    assert "secret" not in server.output.read_text()


def test_sigterm_while_the_model_draws_answers_and_leaves_no_process(server: Server) -> None:
    """The last test of the tiny model's server, which it ends."""
    family, started = server.family, server.metric(STARTED)
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(server.predict, **SLOW)
        eventually(lambda: server.metric(STARTED) == started + 1)
        server.process.terminate()
        assert sent.result().status_code == 200
    assert server.process.wait(60) == 0, server.output.read_text()
    eventually(lambda: not living(family - {os.getpid()}))


def test_sigterm_with_a_full_batch_in_flight_answers_all_and_leaves_no_process(
    quick: Server,
) -> None:
    """The last test of the stand-in's server, which it ends."""
    family, started = quick.family, quick.metric(STARTED)
    with ThreadPoolExecutor(20) as threads:
        sent = [threads.submit(quick.predict, **SLOWEST)]
        eventually(lambda: quick.metric(STARTED) == started + 1)
        sent += [threads.submit(quick.predict, **SLOW | {"seed": n}) for n in range(8)]
        sent += [threads.submit(quick.predict, prompt="x") for _ in range(3)]
        eventually(lambda: quick.metric(WAITING) == 11)
        eventually(lambda: quick.metric(STARTED) >= started + 9)  # the full batch is in progress
        quick.process.terminate()
        assert eventually(lambda: quick.client.get("/readyz").status_code == 503)
        late = quick.predict(prompt="late")
        assert (late.status_code, late.headers["connection"]) == (200, "close")
        assert [one.result().status_code for one in sent] == [200] * 12
    assert quick.process.wait(60) == 0, quick.output.read_text()
    eventually(lambda: not living(family - {os.getpid()}))
    assert not quick.termination.exists()


def test_request_that_waits_too_long_is_504(strict: Server) -> None:
    strict.client.headers["Authorization"] = f"Bearer {KEY}"
    started = strict.metric(STARTED)
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(strict.predict, **SLOWEST)
        eventually(lambda: strict.metric(STARTED) == started + 1)
        assert_problem(strict.predict(prompt="x"), 504, "1 s")
        assert not busy.done(), "the slow request must outlast the other request"
        assert busy.result().status_code == 200
    assert strict.metric(WAITING) == 0


def test_only_requests_with_a_key_are_served(strict: Server, variant: Variant) -> None:
    closed = ["/about", *(["/info"] if variant.backend == "litserve" else [])]
    wrong = {"Authorization": "Bearer wrong"}
    for key, status in ((wrong, 401), ({"Authorization": f"Bearer {KEY}"}, 200)):
        got = [strict.client.get(path, headers=key).status_code for path in closed]
        got.append(strict.client.post("/predict", json={"prompt": "x"}, headers=key).status_code)
        assert set(got) == {status}
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert strict.client.get(path, headers=wrong).status_code == 200


def test_every_picture_is_signed_by_the_certificate_of_the_moment(
    strict: Server, pool: Pool
) -> None:
    strict.client.headers["Authorization"] = f"Bearer {KEY}"
    assert strict.client.get("/about").json()["provenance"]["content_credentials"]

    def signed(media: str) -> dict[str, Any]:
        file = strict.client.post("/predict", json={"prompt": "x"}, headers={"Accept": media})
        assert file.status_code == 200, file.text
        headers = {"Content-Type": media}
        claims = strict.client.post("/verify", content=file.content, headers=headers).json()
        assert claims["content_credentials"]["signature_holds"]
        credentials: dict[str, Any] = claims["content_credentials"]
        return credentials

    for media in ("image/png", "image/jpeg", "image/webp"):
        assert signed(media)["signer"] == "First, Example Ltd"
    mounted(pool.secret, "second", authority().issue("Second"))
    assert signed("image/png")["signer"] == "Second, Example Ltd"
    mounted(pool.secret, "expired", authority().issue(days=(-9, -3)))
    assert_problem(strict.predict(prompt="x"), 500, "certificate was not valid")
    mounted(pool.secret, "third", authority().issue("Third"))
    assert signed("image/png")["signer"] == "Third, Example Ltd"
    assert "PRIVATE KEY" not in strict.output.read_text()


def test_blocked_picture_is_blurred_and_said_to_be(strict: Server) -> None:
    strict.client.headers["Authorization"] = f"Bearer {KEY}"
    assert strict.client.get("/about").json()["safety"]["action"] == "Blur"
    answer = strict.predict(prompt="an indecent picture", images=2)
    assert answer.status_code == 200, answer.text
    assert answer.json()["blocked"] == [0, 1]
    body = {"prompt": "an indecent picture"}
    blurred = strict.client.post("/predict", json=body, headers=PNG)
    assert blurred.headers["diffusion-blocked"] == "0"
    image = picture(blurred.content)
    assert min(image.tobytes()[::3]) > 250, "the mean colour of red squares is left"
    assert len(image.resize((8, 8)).getcolors() or []) > 1
    answer = strict.client.post("/v1/images/generations", json=body)
    assert (answer.status_code, answer.json()["blocked"]) == (200, [0])


def test_ray_ends_with_a_server_that_is_killed(strict: Server, variant: Variant) -> None:
    """The last test of the strict server, which it ends."""
    if variant.backend != "rayserve":
        pytest.skip("only Ray has processes that would outlive the server")
    processes = descendants(strict.process.pid)
    assert len(processes) > 5
    strict.process.kill()
    eventually(lambda: not living(processes))
