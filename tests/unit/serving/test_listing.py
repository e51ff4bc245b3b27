"""The steps before a download: the listing, the credentials and the cheapest checks."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from diffusion_serving.fetch.credentials import credential
from diffusion_serving.fetch.listing import listed
from diffusion_serving.fetch.model_files import inspect
from diffusion_serving.fetch.remote import InterruptedDownload, RemoteFile
from diffusion_serving.fetch.selection import needed
from diffusion_serving.observability.startup_errors import (
    DownloadFailed,
    InvalidConfiguration,
    ModelLoadFailed,
)

FILE = RemoteFile("model_index.json", 2, "v")


class Failing:
    """A remote whose listing fails with each of the errors, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def files(self) -> Sequence[RemoteFile]:
        if self.errors:
            raise self.errors.pop(0)
        return [FILE]

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        raise NotImplementedError


def test_listing_that_fails_for_a_moment_is_repeated_with_longer_pauses() -> None:
    pauses: list[float] = []
    remote = Failing(*[InterruptedDownload("503")] * 3)
    assert listed(remote, pauses.append) == [FILE]
    assert pauses == [0.5, 1.0, 2.0]


def test_listing_waits_as_long_as_the_other_side_asks() -> None:
    pauses: list[float] = []
    listed(Failing(InterruptedDownload("429", after=7.0)), pauses.append)
    assert pauses == [7.0]


def test_listing_that_fails_on_and_on_is_given_up() -> None:
    with pytest.raises(DownloadFailed, match="503 It was tried 6 times"):
        listed(Failing(*[InterruptedDownload("503")] * 9), lambda _: None)


def test_listing_that_is_refused_is_not_repeated() -> None:
    pauses: list[float] = []
    with pytest.raises(DownloadFailed, match="401"):
        listed(Failing(DownloadFailed("401")), pauses.append)
    assert not pauses


@pytest.mark.parametrize("text", ["hf_abc", "hf_abc\n", " hf_abc ", "\thf_abc\r\n"])
def test_blanks_around_a_credential_are_no_part_of_it(text: str) -> None:
    assert credential({"HF_TOKEN": text}, "HF_TOKEN", "model.tokenSecretRef") == "hf_abc"


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_blank_credential_is_none(text: str) -> None:
    assert credential({"HF_TOKEN": text}, "HF_TOKEN", "model.tokenSecretRef") is None


@pytest.mark.parametrize("text", ["hf_abc\nhf_def", "hf abc", "hf_äbc", "hf\x00abc"])
def test_credential_that_no_header_holds_is_the_tokens_fault_not_the_networks(text: str) -> None:
    with pytest.raises(
        InvalidConfiguration, match=r"HF_TOKEN \(of model.tokenSecretRef\)"
    ) as error:
        credential({"HF_TOKEN": text}, "HF_TOKEN", "model.tokenSecretRef")
    assert text not in str(error.value)


def test_class_that_is_not_served_is_refused_by_the_index_alone() -> None:
    index = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    files = [FILE, RemoteFile("transformer/diffusion_pytorch_model.safetensors", 10**10, "v")]
    with pytest.raises(ModelLoadFailed, match="'FluxPipeline'; served are"):
        needed(files, lambda _: json.dumps(index).encode())


def test_file_as_a_model_is_called_a_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(ModelLoadFailed, match=r"is one file\. Give the directory"):
        inspect(file)


@pytest.mark.parametrize("source", ["hf://org/repo", "s3://bucket/a/b"])
def test_remote_source_given_to_the_server_is_to_be_fetched_first(source: str) -> None:
    with pytest.raises(ModelLoadFailed, match=f"fetch --source {source} --to"):
        inspect(Path(source))
