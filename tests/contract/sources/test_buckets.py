"""`s3://` from moto's server in a process, `gs://` from a small server of Google's read API."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # brings no types
import pytest

from diffusion_serving.fetch.buckets import BucketFolder
from diffusion_serving.fetch.remote import InterruptedDownload
from diffusion_serving.fetch.sources import Bucket
from diffusion_serving.observability.startup_errors import DownloadFailed, ModelLoadFailed
from fetch_command import Command, FetchHere, fetched, weights
from local_buckets import REGION, GoogleBuckets, require_rights, s3_server
from small_s3 import s3_server as small_s3_server
from waiting import eventually

Files = dict[str, bytes]
UNET = "unet/diffusion_pytorch_model.safetensors"
HALF = 24 * 1024 * 1024
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAHUSH", "AWS_SECRET_ACCESS_KEY": "hush-hush"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(
    s3: str, command: Command, demo: Files, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A bucket with the demo model below `models/shapes`; the environment points at it."""
    environ = {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": s3}
    command.environ |= environ
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3").Bucket("weights")
    bucket.create(CreateBucketConfiguration={"LocationConstraint": REGION})
    put(bucket, "models/shapes/", demo)
    put(bucket, "models/shapes-2/", {"model_index.json": b"{}"})
    yield bucket
    bucket.objects.delete()
    bucket.delete()


def put(bucket: Any, prefix: str, files: Files) -> None:
    for path, content in files.items():
        bucket.put_object(Key=prefix + path, Body=content)


@pytest.mark.parametrize("source", ["s3://weights/models/shapes", "s3://weights/models/shapes/"])
def test_model_is_fetched_from_s3(
    bucket: Any, fetch_here: FetchHere, demo: Files, source: str
) -> None:
    assert fetched(fetch_here(source)) == demo


def test_blanks_around_what_the_secret_holds_are_no_part_of_it(
    bucket: Any,
    command: Command,
    fetch_here: FetchHere,
    demo: Files,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (*CREDENTIALS, "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        command.environ[name] += "\r\n"
        monkeypatch.setenv(name, command.environ[name])
    assert fetched(fetch_here("s3://weights/models/shapes")) == demo


def test_lora_is_one_object_of_s3(bucket: Any, fetch_here: FetchHere) -> None:
    put(bucket, "loras/", {"ink.safetensors": weights(), "oil.safetensors": weights()})
    assert list(fetched(fetch_here("s3://weights/loras/ink.safetensors"))) == ["ink.safetensors"]


def test_download_from_s3_resumes_after_a_kill(command: Command, store: Path, large: Files) -> None:
    go_on = threading.Event()
    objects = {f"large/{path}": content for path, content in large.items()}
    key = CREDENTIALS["AWS_ACCESS_KEY_ID"]
    server = small_s3_server(
        *("127.0.0.1", 0, "weights", objects, key),
        pause=lambda byte: byte < HALF or go_on.wait(60),
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    command.environ |= {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": endpoint}
    part = store / f"key.partial/{UNET}.part"
    first = command("s3://weights/large", store / "key")
    eventually(lambda: part.exists() and part.stat().st_size >= HALF)
    first.kill()
    go_on.set()
    assert not (store / "key").exists()
    second = command("s3://weights/large", store / "key")
    assert second.wait() == 0, second.output.read_text()
    assert fetched(store / "key") == large
    (begin, *_) = [line for line in second.lines if line["message"] == "downloading"]
    assert begin["percent"] >= 16
    server.shutdown()
    server.server_close()


def test_keys_are_in_no_log(bucket: Any, command: Command, store: Path) -> None:
    run = command("s3://weights/models/shapes", store / "key")
    assert run.wait() == 0
    assert "hush" not in run.output.read_text().lower()


@pytest.mark.parametrize("source", ["s3://weights/models/circles", "s3://nothing/models"])
def test_missing_object_in_s3_is_reported(bucket: Any, fetch_here: FetchHere, source: str) -> None:
    with pytest.raises(DownloadFailed, match=f"{source} was not found on http"):
        fetch_here(source)


def test_refused_access_to_s3_is_reported(
    s3: str, bucket: Any, command: Command, store: Path
) -> None:
    require_rights(s3, 0)
    try:
        refusal = command("s3://weights/models/shapes", store / "key").refusal
    finally:
        require_rights(s3, 1_000_000)
    assert refusal["reason"] == "DownloadFailed"
    assert "refused access to s3://weights/models/shapes" in refusal["message"]
    assert "model.credentialsSecretRef" in refusal["message"]
    assert "hush" not in json.dumps(refusal).lower()


def test_missing_credentials_of_s3_are_reported(
    bucket: Any, command: Command, store: Path, tmp_path: Path
) -> None:
    for name in CREDENTIALS:
        del command.environ[name]
    nobody = dict.fromkeys(CREDENTIALS, "") | {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }
    refusal = command("s3://weights/models/shapes", store / "key", **nobody).refusal
    assert refusal["reason"] == "DownloadFailed"
    assert "needs credentials, and none were found" in refusal["message"]


# gcsfs retries for half a minute.
@pytest.mark.parametrize("scheme", ["s3", pytest.param("gs", marks=pytest.mark.full)])
def test_bucket_server_that_cannot_be_reached_is_named(
    command: Command, fetch_here: FetchHere, without_pauses: None, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    command.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "STORAGE_EMULATOR_HOST": endpoint,
        **CREDENTIALS,
    }
    with pytest.raises(DownloadFailed, match=rf"{endpoint} cannot be reached.* tried 6 times"):
        fetch_here(f"{scheme}://weights/models")


def test_one_listing_of_an_overloaded_s3_is_one_request() -> None:
    requests: list[str] = []

    class Overloaded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(503)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Overloaded) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        folder = BucketFolder(
            Bucket("s3", "weights/models"), {"AWS_ENDPOINT_URL": endpoint, **CREDENTIALS}
        )
        with pytest.raises(InterruptedDownload):
            folder.files()
        server.shutdown()
    assert len(requests) == 1


def test_pickles_in_s3_are_refused(bucket: Any, fetch_here: FetchHere, demo: Files) -> None:
    pickled = {path.replace(".safetensors", ".bin"): content for path, content in demo.items()}
    put(bucket, "pickled/", pickled)
    with pytest.raises(ModelLoadFailed, match="only as a pickle"):
        fetch_here("s3://weights/pickled")


@pytest.fixture
def google(
    command: Command, demo: Files, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GoogleBuckets]:
    objects = {f"models/shapes/{path}": content for path, content in demo.items()}
    with GoogleBuckets({"weights": objects}) as google:
        command.environ["STORAGE_EMULATOR_HOST"] = google.endpoint
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.endpoint)
        yield google


def test_model_is_fetched_from_google(
    google: GoogleBuckets, fetch_here: FetchHere, demo: Files
) -> None:
    assert fetched(fetch_here("gs://weights/models/shapes")) == demo


def test_request_to_overloaded_google_is_repeated(
    google: GoogleBuckets, fetch_here: FetchHere, demo: Files
) -> None:
    google.overloaded = 2
    assert fetched(fetch_here("gs://weights/models/shapes")) == demo


def test_large_object_of_google_is_read_in_ranges(
    google: GoogleBuckets, fetch_here: FetchHere, large: Files
) -> None:
    google.objects["weights"] |= {f"large/{path}": content for path, content in large.items()}
    assert fetched(fetch_here("gs://weights/large")) == large
    assert "bytes=8388608-16777215" in google.ranges


@pytest.mark.parametrize("source", ["gs://weights/models/circles", "gs://nothing/models"])
def test_missing_object_in_google_is_reported(
    google: GoogleBuckets, fetch_here: FetchHere, source: str
) -> None:
    with pytest.raises(DownloadFailed, match=f"{source} was not found on http"):
        fetch_here(source)


def test_refused_access_to_google_is_reported(google: GoogleBuckets, fetch_here: FetchHere) -> None:
    google.token = "somebody-else's"
    with pytest.raises(DownloadFailed, match="refused access to gs://weights/models/shapes"):
        fetch_here("gs://weights/models/shapes")
