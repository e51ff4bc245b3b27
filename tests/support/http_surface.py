"""One HTTP surface: the suite that processes and pods of every backend pass.

The tests need an HTTP client only; any model and any defaults will do.
"""

import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from PIL import Image, ImageChops

from answers import MOST_WAITING, WAITING_STEPS, Answers
from diffusion_serving.http.ui.files import page_files
from serving_process import SLOW, SLOWEST, Variant, eventually

JSON = {"Content-Type": "application/json"}
PNG = {"Accept": "image/png"}
HUNG_UP = 'diffusion_rejected_total{reason="hang_up"}'
GENERATED = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
STARTED = "diffusion_queue_seconds_count"
WAITING = "diffusion_queue_length"


def assert_problem(answer: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    for word in words:
        assert word in document["detail"]
    return document


def picture(file: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(file))
    image.load()
    return image.convert("RGB")


def assert_only_waiting_clients_are_served(server: Answers) -> None:
    """Fills the queue behind a slow request up to a 429; all but 10 hang up; the 10 are served."""
    images, hung_up = server.metric("diffusion_images_total"), server.metric(HUNG_UP)
    started = server.metric(STARTED)
    with ThreadPoolExecutor(11) as threads:
        busy = threads.submit(server.predict, **SLOWEST)
        eventually(lambda: server.metric(STARTED) == started + 1)
        left = b'{"prompt": "left", "steps": %d}' % WAITING_STEPS
        leaving = [server.send(left) for _ in range(MOST_WAITING - 10)]
        staying = [
            threads.submit(server.predict, prompt="x", steps=WAITING_STEPS) for _ in range(10)
        ]
        eventually(lambda: server.metric(WAITING) == MOST_WAITING)
        refused = server.predict(prompt="x")
        assert_problem(refused, 429, "Try again in")
        assert int(refused.headers["retry-after"]) >= 1
        for connection in leaving:
            connection.close()
        eventually(lambda: server.metric(HUNG_UP) == hung_up + len(leaving))
        assert server.metric(WAITING) == len(staying)
        assert not busy.done(), "the slow request must outlast the checks"
        assert {one.result().status_code for one in (busy, *staying)} == {200}
    assert server.metric("diffusion_images_total") == images + 10 + SLOWEST["images"]
    assert server.metric(WAITING) == 0


class Pictures:
    """The tests of the surface that look at pictures."""

    def test_images_come_as_json_with_what_was_done(self, server: Answers) -> None:
        answer = server.predict(
            prompt="a red circle", seed=3, images=2, width=128, height=64, steps=3
        )
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == {"images", "format", "seed", "width", "height", "steps", "timings_ms"}
        assert (body["seed"], body["width"], body["height"], body["steps"]) == (3, 128, 64, 3)
        first, second = (picture(base64.b64decode(image)) for image in body["images"])
        assert first.size == second.size == (128, 64)
        assert ImageChops.difference(first, second).getbbox() is not None
        stages = re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"])
        assert [name for name, _ in stages] == list(body["timings_ms"])
        assert all(float(ms) > 0 for name, ms in stages if name != "queue")

    @pytest.mark.parametrize("media", ["image/png", "image/jpeg", "image/webp"])
    def test_an_image_comes_as_bytes(self, server: Answers, media: str) -> None:
        answer = server.client.post(
            "/predict", json={"prompt": "x", "seed": 5}, headers={"Accept": media}
        )
        assert (answer.status_code, answer.headers["content-type"]) == (200, media)
        assert answer.headers["diffusion-seed"] == "5"
        image = Image.open(io.BytesIO(answer.content))
        assert image.get_format_mimetype() == media
        assert GENERATED in image.info["xmp"], "each picture says that it is generated"
        headers = {"Content-Type": media}
        claims = server.client.post("/verify", content=answer.content, headers=headers).json()
        assert (claims["claims_generated"], claims["content_credentials"]) == (True, None)

    def test_each_step_is_an_event_and_the_image_is_the_last(self, server: Answers) -> None:
        body = {"prompt": "x", "seed": 5, "steps": 6}
        events: list[tuple[str, dict[str, Any]]] = []
        headers = {"Accept": "text/event-stream"}
        with server.client.stream("POST", "/predict", json=body, headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    events.append((event, json.loads(line.removeprefix("data: "))))
        *steps, (last, document) = events
        assert steps == [("step", {"step": step, "steps": 6}) for step in range(1, 7)]
        assert last == "images"
        assert document["images"] == server.predict(**body).json()["images"]

    def test_random_seed_is_reported_and_gives_the_image_again(self, server: Answers) -> None:
        first, second = (server.predict(prompt="x").json() for _ in range(2))
        assert first["seed"] != second["seed"]
        again = server.predict(prompt="x", seed=first["seed"]).json()
        assert again["images"] == first["images"] != second["images"]

    def test_a_seed_gives_the_same_image_alone_and_in_batches_of_mixed_prompts(
        self, server: Answers
    ) -> None:
        # Enough steps that the first is not done before the last has come, on a busy machine too.
        # How many share a step is up to the cost that the engine has measured.
        requests = [
            {"prompt": f"picture {n}", "negative_prompt": "x" * n, "seed": 100 + n, "steps": 20}
            for n in range(8)
        ]

        def file(fields: dict[str, Any]) -> bytes:
            answer = server.client.post("/predict", json=fields, headers=PNG)
            assert answer.status_code == 200, answer.text
            return answer.content

        alone = [picture(file(fields)) for fields in requests]
        of_one = 'diffusion_batch_size_bucket{le="1.0"}'
        batches, single = server.metric("diffusion_batch_size_count"), server.metric(of_one)
        started = server.metric(STARTED)
        with ThreadPoolExecutor(9) as threads:
            busy = threads.submit(server.predict, **SLOW)
            eventually(lambda: server.metric(STARTED) == started + 1)
            together = [picture(one) for one in threads.map(file, requests)]
            assert busy.result().status_code == 200
        batches = server.metric("diffusion_batch_size_count") - batches
        single = server.metric(of_one) - single
        assert batches > single, "no two pictures shared a batch"
        assert len({image.tobytes() for image in alone}) == 8
        for one, other in zip(alone, together, strict=True):
            assert max(ImageChops.difference(one, other).tobytes()) <= 1

    def test_openais_own_client_gets_its_image(self, server: Answers) -> None:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
        answer = client.images.generate(prompt="a red circle", size="64x64", n=2)
        files = [base64.b64decode(one.b64_json or "") for one in answer.data or ()]
        assert [picture(file).size for file in files] == [(64, 64)] * 2
        with pytest.raises(openai.BadRequestError, match="size"):
            client.images.generate(prompt="x", size="65x65")


class Surface:
    """The HTTP surface that every server has, with any backend, as a process or in a pod.

    A subclass needs the fixtures `variant` and `server`, which has the limits of `answers`.
    """

    def test_each_response_names_its_replica(self, server: Answers) -> None:
        responses = [server.predict(prompt="x"), *map(server.client.get, ("/about", "/nothing"))]
        names = [response.headers.get_list("diffusion-replica") for response in responses]
        assert len(names[0]) == 1
        assert names[0][0]
        assert names == [names[0]] * 3

    def test_answers_are_not_compressed(self, server: Answers) -> None:
        answer = server.client.post(
            "/predict", json={"prompt": "x"}, headers={"Accept-Encoding": "gzip"}
        )
        assert "content-encoding" not in answer.headers

    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({"prompt": " "}, "blank"),
            ({"prompt": 1}, "prompt"),
            ({"prompt": "x" * 1001}, "1001"),
            ({"prompt": "x", "steps": 501}, "at most 500"),
            ({"prompt": "x", "width": 136, "height": 128}, "at most 16384"),
            ({"prompt": "x", "width": 100}, "multiple of 8"),
            ({"prompt": "x", "images": 5}, "at most 4"),
            ({"prompt": "x", "surprise": 1}, "surprise"),
            ({"prompt": "x", "lora": {"name": "none"}}, "lora"),
        ],
    )
    def test_each_invalid_field_is_named(
        self, server: Answers, fields: dict[str, Any], word: str
    ) -> None:
        document = assert_problem(server.predict(**fields), 422, word)
        assert document["errors"]

    def test_other_bodies_and_answers_are_refused(self, server: Answers) -> None:
        post = server.client.post
        assert_problem(post("/predict", content=b"{", headers=JSON), 400)
        assert_problem(post("/predict", content=b"{}", headers={"Content-Type": "text/plain"}), 415)
        zipped = {**JSON, "Content-Encoding": "gzip"}
        assert_problem(post("/predict", content=b"{}", headers=zipped), 415)
        answer = post("/predict", json={"prompt": "x"}, headers={"Accept": "text/html"})
        assert_problem(answer, 406)

    def test_only_pictures_are_verified(self, server: Answers) -> None:
        post = server.client.post
        assert_problem(post("/verify", content=b"{}", headers=JSON), 415, "image/png")
        media = {"Content-Type": "image/png"}
        assert_problem(post("/verify", content=b"GIF89a", headers=media), 422, "PNG, JPEG")
        assert_problem(post("/verify", content=bytes(2_000_000), headers=media), 413, "At most")

    def test_unknown_routes_and_methods_are_problems(self, server: Answers) -> None:
        assert_problem(server.client.get("/predit"), 404, "POST /predict")
        for method in ("GET", "HEAD", "PUT", "OPTIONS", "DELETE"):
            answer = server.client.request(method, "/predict")
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        answer = server.client.options("/readyz")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")

    def test_head_is_get_without_a_body(self, server: Answers) -> None:
        for path in ("/healthz", "/readyz", "/about", "/docs"):
            answer = server.client.head(path)
            assert (answer.status_code, answer.content) == (200, b"")
            assert int(answer.headers["content-length"]) > 0

    def test_large_body_is_refused_and_the_server_goes_on(self, server: Answers) -> None:
        body = json.dumps({"prompt": "x" * 10_000_000}).encode()
        assert server.client.post("/predict", content=body, headers=JSON).status_code == 413
        chunks = (body[at : at + 65536] for at in range(0, len(body), 65536))
        assert server.client.post("/predict", content=chunks, headers=JSON).status_code == 413
        assert server.predict(prompt="x").status_code == 200

    def test_fifty_clients_hang_up_and_only_the_others_are_served(self, server: Answers) -> None:
        assert_only_waiting_clients_are_served(server)

    def test_client_that_hangs_up_while_it_is_served_disturbs_nobody(self, server: Answers) -> None:
        started, hung_up = server.metric(STARTED), server.metric(HUNG_UP)
        connection = server.send(json.dumps(SLOW).encode())
        eventually(lambda: server.metric(STARTED) == started + 1)
        connection.close()
        assert server.predict(prompt="x").status_code == 200
        assert server.metric(HUNG_UP) == hung_up

    def test_bad_requests_between_good_ones_harm_nobody(self, server: Answers) -> None:
        def ask(n: int) -> int:
            return server.predict(prompt="x", steps=0 if n % 2 else 2).status_code

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, range(16))) == [200, 422] * 8

    def test_one_scrape_shows_all_processes(self, server: Answers) -> None:
        before = server.metric("diffusion_images_total")
        server.predict(prompt="x", images=3)
        assert server.metric("diffusion_images_total") == before + 3
        answer = server.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        names = re.findall(r"^# TYPE (\S+)", answer.text, re.MULTILINE)
        assert len(set(names)) == len(names)
        assert {
            "diffusion_requests_total",
            "diffusion_request_seconds",
            "diffusion_stage_seconds",
            "diffusion_batch_size",
            "diffusion_queue_length",
            "diffusion_requests_in_flight",
            "diffusion_cost_in_flight",
            "diffusion_queue_seconds",
            "diffusion_images_total",
            "diffusion_rejected_total",
            "diffusion_build_info",
            "diffusion_device_info",
        } <= set(names)
        for name in ("diffusion_ready", "diffusion_build_info", "diffusion_device_info"):
            assert server.metric(name) == 1
        for stage in ("text_encoder", "denoise", "vae", "encode"):
            assert server.metric(f'diffusion_stage_seconds_count{{stage="{stage}"}}') > 0
        assert 'diffusion_requests_total{code="200",route="/predict"}' in answer.text
        (device,) = re.findall(r"^diffusion_device_info\{(.*)\}", answer.text, re.MULTILINE)
        assert {'device="cpu"', 'dtype="float32"'} <= set(device.split(","))

    def test_documentation_and_description_are_served(self, server: Answers) -> None:
        page = server.client.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "negative_prompt" in page.text
        document = server.client.get("/openapi.json").json()
        assert {"/predict", "/v1/images/generations", "/healthz"} <= set(document["paths"])

    def test_page_and_its_files_are_the_packaged_ones(self, server: Answers) -> None:
        for path, file in page_files().items():
            answer = server.client.get(path)
            assert (answer.status_code, answer.content) == (200, file.body)
            assert answer.headers["content-type"] == file.media_type
            assert {name: answer.headers[name] for name in file.headers} == file.headers

    def test_root_is_the_frameworks_answer_or_the_page(
        self, server: Answers, variant: Variant
    ) -> None:
        answer = server.client.get("/", follow_redirects=True)
        assert answer.status_code == 200
        if variant.backend == "litserve":
            assert answer.text == "litserve running"
            assert "server" in server.client.get("/info").json()
        else:
            assert answer.url.path == "/ui"
            assert_problem(server.client.get("/info"), 404)
