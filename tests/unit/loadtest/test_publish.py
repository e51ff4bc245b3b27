from collections.abc import Mapping
from pathlib import Path

import pytest

from diffusion_loadtest.report import publish
from diffusion_loadtest.report.publish import FileSink, PublishError, Sinks, pod_namespace


class Flaky:
    """A sink that fails a given number of times, and then takes every document."""

    def __init__(self, failures: int, *, retryable: bool = True) -> None:
        self.tries = 0
        self.taken: list[Mapping[str, str]] = []
        self._failures = failures
        self._retryable = retryable

    def put(self, documents: Mapping[str, str]) -> None:
        self.tries += 1
        if self.tries <= self._failures:
            raise PublishError("no", retryable=self._retryable)
        self.taken.append(documents)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(publish, "_LONGEST_PAUSE_SECONDS", 0.004)


def test_report_is_tried_until_it_is_taken() -> None:
    sink = Flaky(5)
    Sinks((sink,)).deliver({"report.json": "{}"}, 10.0)
    assert sink.taken == [{"report.json": "{}"}]
    assert sink.tries == 6


def test_report_is_given_up_when_time_is_up_or_it_is_hopeless() -> None:
    with pytest.raises(PublishError):
        Sinks((Flaky(10**9),)).deliver({"report.json": "{}"}, 0.05)
    hopeless = Flaky(1, retryable=False)
    with pytest.raises(PublishError):
        Sinks((hopeless,)).deliver({"report.json": "{}"}, 10.0)
    assert hopeless.tries == 1


def test_progress_is_tried_once_and_never_an_error() -> None:
    sink = Flaky(1)
    sinks = Sinks((sink,))
    sinks.offer({"progress.json": "1"})
    sinks.offer({"progress.json": "2"})
    assert sink.taken == [{"progress.json": "2"}]


def test_one_sink_that_fails_keeps_nothing_from_the_others() -> None:
    good = Flaky(0)
    with pytest.raises(PublishError):
        Sinks((Flaky(1, retryable=False), good)).deliver({"report.json": "{}"}, 1.0)
    assert good.taken == [{"report.json": "{}"}]


def test_files_are_replaced_and_their_folder_is_made(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "a" / "b")
    sink.put({"progress.json": "1"})
    sink.put({"progress.json": "2", "report.json": "3"})
    assert {p.name: p.read_text() for p in (tmp_path / "a" / "b").iterdir()} == {
        "progress.json": "2",
        "report.json": "3",
    }


def test_folder_that_cannot_be_made_is_a_publish_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PublishError):
        FileSink(tmp_path / "file" / "below").put({"report.json": "3"})


def test_namespace_is_that_of_the_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "namespace"
    monkeypatch.setattr(publish, "NAMESPACE_FILE", path)
    assert pod_namespace("default") == "default"
    path.write_text("team-a\n")
    assert pod_namespace("default") == "team-a"
