"""Small parts around the server: cores, logs, the termination message, encoding."""

import io
import json
import logging
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from diffusion_serving.engine.cpu_cores import available_cores, lower_priority
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.http.responses.image_encoding import Format, encode
from diffusion_serving.observability import logs, termination
from diffusion_serving.observability.startup_errors import WrongDevice
from diffusion_serving.observability.versions import driver_version


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("1600000 100000", 8),
    ],
)
def test_cores_are_limited_by_cgroup_v2(tmp_path: Path, limit: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert available_cores(tmp_path) == cores


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("300000", 3)])
def test_cores_are_limited_by_cgroup_v1(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(tmp_path) == cores


@pytest.mark.usefixtures("eight_cores")
def test_cores_without_a_cgroup_are_those_of_the_affinity(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 8


def test_termination_message_is_one_json_object_of_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    code = termination.report(WrongDevice("no cuda\n  here"), {"TERMINATION_LOG": str(file)})
    assert code == 78
    assert json.loads(file.read_text()) == {"reason": "WrongDevice", "message": "no cuda here"}


def test_termination_message_fits_into_the_bytes_that_the_kubelet_reads(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    termination.report(WrongDevice("\U0001f3a8" * 9000), {"TERMINATION_LOG": str(file)})
    assert len(file.read_bytes()) <= 4096
    assert json.loads(file.read_text())["reason"] == "WrongDevice"


def test_termination_log_that_cannot_be_written_is_skipped(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere/termination-log"
    assert termination.report(WrongDevice("x"), {"TERMINATION_LOG": str(missing)}) == 78


@pytest.fixture
def logged() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(logged: io.StringIO) -> Iterator[logging.Logger]:
    handler = logging.StreamHandler(logged)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.getLogger("test")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger
    logger.removeHandler(handler)


def test_log_line_is_one_json_object(logger: logging.Logger, logged: io.StringIO) -> None:
    logger.info("two\nlines %d", 7, extra={"route": "/predict"})
    (line,) = logged.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["message"], fields["route"]) == ("two\nlines 7", "/predict")
    assert (fields["level"], fields["logger"]) == ("info", "test")
    assert fields["time"].endswith("+00:00")


def test_logged_exception_shows_its_place_but_not_its_message(
    logger: logging.Logger, logged: io.StringIO
) -> None:
    try:
        raise ValueError("a secret wish")  # noqa: TRY301 - the test catches it here
    except ValueError:
        logger.exception("failed")
    fields = json.loads(logged.getvalue())
    assert fields["error"] == "ValueError"
    assert __file__ in fields["frames"][-1]
    assert "secret" not in logged.getvalue()


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_encoded_picture_shows_the_pixels_and_nothing_else(image_format: Format) -> None:
    red, blue = b"\xff\0\0", b"\0\0\xff"
    picture = Picture(64, 128, (red * 32 + blue * 32) * 128)
    image = Image.open(io.BytesIO(encode(picture, image_format)))
    assert (image.format, image.size) == (image_format.upper(), (64, 128))
    pixels = image.convert("RGB")
    for x, colour in ((8, red), (56, blue)):
        shown = pixels.getpixel((x, 64))
        assert isinstance(shown, tuple)
        assert all(abs(a - b) <= 12 for a, b in zip(shown, colour, strict=True))
    assert not {"parameters", "exif", "comment"} & set(image.info)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (64, 128), (200, 104)])
def test_a_png_has_every_pixel_as_it_was(width: int, height: int) -> None:
    rgb = random.Random(width).randbytes(3 * width * height)
    extremes = b"\xff\xff\xff\0\0\0" * (width * height // 2)
    for pixels in (rgb, extremes):
        file = encode(Picture(width, height, pixels), "png")
        assert Image.open(io.BytesIO(file)).tobytes() == pixels


def test_a_png_of_a_grainy_painting_is_no_larger_than_pillows() -> None:
    grain = random.Random(0)
    pixels = bytes(
        x // 2 + y // 4 + grain.randrange(-3, 4) + 8
        for y in range(256)
        for x in range(256)
        for _ in range(3)
    )
    pillows = io.BytesIO()
    Image.frombytes("RGB", (256, 256), pixels).save(pillows, "PNG")
    assert len(encode(Picture(256, 256, pixels), "png")) <= len(pillows.getvalue())


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12", "535.183.01"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build",
            "580.65.06",
        ),
        ("something else", None),
    ],
)
def test_a_gpus_driver_is_known_by_its_version(
    tmp_path: Path, line: str, version: str | None
) -> None:
    file = tmp_path / "version"
    assert driver_version(file) is None
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0\n")
    assert driver_version(file) == version


def test_both_ends_of_a_long_error_message_are_logged() -> None:
    message = str(logs.failure_fields(RuntimeError("first" + "x" * 5000 + "last"))["error_message"])
    assert message.startswith("first")
    assert message.endswith("last")
    assert len(message) < 1000


def test_lower_priority_affects_its_thread_alone() -> None:
    def lower_and_record(niceness: list[int]) -> None:
        niceness.append(os.nice(0))
        lower_priority()
        niceness.append(os.nice(0))

    mine, niceness = os.nice(0), list[int]()
    thread = threading.Thread(target=lower_and_record, args=(niceness,))
    thread.start()
    thread.join()
    before, after = niceness
    assert before == mine == os.nice(0)
    assert after > before
