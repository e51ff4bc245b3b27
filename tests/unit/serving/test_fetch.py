"""Selection and download of a model's files, without a network."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from diffusion_serving.fetch import store
from diffusion_serving.fetch.remote import InterruptedDownload, RemoteFile
from diffusion_serving.fetch.selection import needed
from diffusion_serving.fetch.sources import Bucket, Hub, parse
from diffusion_serving.observability.startup_errors import (
    DownloadFailed,
    InvalidConfiguration,
    ModelLoadFailed,
)

PARTS = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
}
TEXTS = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "vae/config.json",
]
USUAL = [
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
]
HALF = [path.replace(".safetensors", ".fp16.safetensors") for path in USUAL]


def selected_paths(*paths: str, index: Any = PARTS) -> list[str]:
    files = [RemoteFile(path, 1, "v") for path in paths]
    return sorted(file.path for file in needed(files, lambda _: json.dumps(index).encode()))


@pytest.mark.parametrize(
    ("available", "weights"),
    [
        (USUAL, USUAL),
        (HALF, HALF),
        ([*USUAL, *HALF], USUAL),
        ([*USUAL[:2], *HALF], HALF),
    ],
)
def test_pipeline_is_fetched_in_one_precision(available: list[str], weights: list[str]) -> None:
    others = ["README.md", "all.ckpt", "unet/diffusion_pytorch_model.bin", "onnx/model.safetensors"]
    assert selected_paths(*TEXTS, *available, *others) == sorted([*TEXTS, *weights])


@pytest.mark.parametrize(
    ("available", "checker"),
    [
        (["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["model.fp16.safetensors"], []),
        (["pytorch_model.bin"], []),
    ],
)
def test_models_own_safety_checker_comes_with_it_where_it_is_safetensors_alike(
    available: list[str], checker: list[str]
) -> None:
    config = ["safety_checker/config.json"]
    files = [f"safety_checker/{name}" for name in available]
    selection = selected_paths(*TEXTS, *USUAL, *config, *files)
    own = [*config, *(f"safety_checker/{name}" for name in checker)] if checker else []
    assert selection == sorted([*TEXTS, *USUAL, *own])


def test_preparation_of_a_checkers_images_comes_with_it() -> None:
    index = {**PARTS, "feature_extractor": ["transformers", "CLIPImageProcessor"]}
    own = ["safety_checker/config.json", "safety_checker/model.safetensors"]
    own.append("feature_extractor/preprocessor_config.json")
    assert selected_paths(*TEXTS, *USUAL, *own, index=index) == sorted([*TEXTS, *USUAL, *own])


@pytest.mark.parametrize(
    ("available", "weights"),
    [
        (["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (["model.fp16.safetensors"], ["model.fp16.safetensors"]),
    ],
)
def test_safety_checkers_source_is_fetched_without_what_it_needs_not(
    available: list[str], weights: list[str]
) -> None:
    texts = ["config.json", "preprocessor_config.json"]
    others = ["README.md", "pytorch_model.bin", "onnx/model.onnx", "training_args.json"]
    assert selected_paths(*texts, *others, *available) == sorted([*texts, *weights])


def test_shards_come_with_the_list_of_their_own_variant_alone() -> None:
    folder = "unet/diffusion_pytorch_model"
    shards = [f"{folder}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    lists = [f"{folder}.safetensors.index.json", f"{folder}.safetensors.index.fp16.json"]
    rest = [USUAL[0], USUAL[2]]
    selection = selected_paths(*TEXTS, *rest, *shards, *lists, f"{folder}.fp16.safetensors")
    assert selection == sorted([*TEXTS, *rest, *shards, lists[0]])
    selection = selected_paths(*TEXTS, *HALF[::2], *shards, *lists, f"{folder}.fp16.safetensors")
    assert lists[1] in selection


def test_second_text_encoder_and_tokenizer_are_parts_like_others() -> None:
    more = ["text_encoder_2/config.json", "text_encoder_2/model.safetensors"]
    more += ["tokenizer_2/vocab.json"]
    index = {
        **PARTS,
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    }
    assert selected_paths(*TEXTS, *USUAL, *more, index=index) == sorted([*TEXTS, *USUAL, *more])


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([*TEXTS, *USUAL[:2], "vae/diffusion_pytorch_model.bin"], "its vae only as a pickle"),
        ([*TEXTS, *USUAL[:2], HALF[2]], "no whole set of safetensors weights: its vae"),
        (["model.pt"], "its weights only as a pickle"),
        (["preprocessor_config.json", "model.bin"], "a safety checker without a model.safetensors"),
        (["a.safetensors", "b.safetensors"], r"several safetensors files \(a.*, b"),
        (["notes/a.safetensors"], "neither a diffusers pipeline nor a LoRA"),
    ],
)
def test_source_that_cannot_be_served_is_refused_before_its_weights_are_fetched(
    paths: list[str], words: str
) -> None:
    with pytest.raises(ModelLoadFailed, match=words):
        selected_paths(*paths)


@pytest.mark.parametrize("index", [[], "x", None])
def test_index_that_is_no_object_is_refused(index: Any) -> None:
    with pytest.raises(ModelLoadFailed, match="no JSON object"):
        selected_paths("model_index.json", index=index)


@pytest.mark.parametrize(
    ("source", "revision", "parsed"),
    [
        ("hf://acme/shapes", None, Hub("acme/shapes", None, "")),
        ("hf://acme/shapes", "v1", Hub("acme/shapes", "v1", "")),
        ("hf://acme/shapes@refs/pr/4", None, Hub("acme/shapes", "refs/pr/4", "")),
        ("hf://acme/shapes@v1", "v1", Hub("acme/shapes", "v1", "")),
        ("hf://acme/shapes/a/b.safetensors", "v1", Hub("acme/shapes", "v1", "a/b.safetensors")),
        ("hf://gpt2", None, Hub("gpt2", None, "")),
        ("s3://bucket", None, Bucket("s3", "bucket")),
        ("s3://bucket/a/b/", None, Bucket("s3", "bucket/a/b")),
        ("gs://bucket/a.safetensors", None, Bucket("gs", "bucket/a.safetensors")),
    ],
)
def test_source_is_read_as_it_is_written(
    source: str, revision: str | None, parsed: Hub | Bucket
) -> None:
    assert parse(source, revision) == parsed


@pytest.mark.parametrize(
    "source",
    ["", "hf://", "hf://a b", "s3://", "s3:///x", "ftp://x/y", "image:///models/x", "acme/shapes"],
)
def test_source_of_another_sort_is_refused(source: str) -> None:
    with pytest.raises(InvalidConfiguration, match="cannot be fetched: write"):
        parse(source, None)


class Scripted:
    """A remote with scripted reads: each breaks after a number of bytes, or never for None."""

    def __init__(self, content: bytes, *ends: int | None) -> None:
        self.content = content
        self.ends = list(ends)
        self.offsets: list[int] = []

    def files(self) -> Sequence[RemoteFile]:
        return [RemoteFile("ink.safetensors", len(self.content), "v")]

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:  # noqa: ARG002 - there is only one
        self.offsets.append(offset)
        end = self.ends.pop(0) if self.ends else None
        rest = self.content[offset:]
        yield rest if end is None else rest[:end]
        if end is not None:
            raise InterruptedDownload("the line broke")


def test_reading_resumes_where_it_broke_off() -> None:
    remote, pauses = Scripted(b"0123456789", 4, 0, 3), list[float]()
    (file,) = remote.files()
    assert b"".join(store.pieces(remote, file, 0, pauses.append)) == b"0123456789"
    assert remote.offsets == [0, 4, 4, 7]
    assert pauses == [0.25, 0.5, 0.25]


def test_reading_waits_as_long_as_the_other_side_asks() -> None:
    class Overloaded(Scripted):
        def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
            if not self.offsets:
                self.offsets.append(offset)
                raise InterruptedDownload("429", after=7.0)
            yield from super().read(file, offset)

    remote, pauses = Overloaded(b"0123456789"), list[float]()
    (file,) = remote.files()
    assert b"".join(store.pieces(remote, file, 0, pauses.append)) == b"0123456789"
    assert pauses == [7.0]


def test_reading_without_progress_is_given_up() -> None:
    remote = Scripted(b"0123456789", *[0] * 20)
    (file,) = remote.files()
    with pytest.raises(DownloadFailed, match="the line broke It was tried 6 times"):
        list(store.pieces(remote, file, 0, lambda _: None))
    assert len(remote.offsets) == 6


def test_source_that_ends_early_without_an_error_is_given_up_too() -> None:
    remote = Scripted(b"0123456789")
    with pytest.raises(DownloadFailed, match=r"ink.safetensors ended early"):
        list(store.pieces(remote, RemoteFile("ink.safetensors", 20, "v"), 0, lambda _: None))


def test_content_that_is_longer_than_its_declared_size_is_damaged(tmp_path: Path) -> None:
    remote = Scripted(b"0123456789")
    with pytest.raises(DownloadFailed, match="arrived damaged"):
        store.fill(remote, [RemoteFile("a", 4, "v")], tmp_path / "key", lambda _: None)
    assert not (tmp_path / "key").exists()


def test_only_blocks_that_are_surely_on_the_disk_are_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BLOCK", 4)
    content = b"0123456789abcdef"
    partial = tmp_path / "key.partial"
    partial.mkdir()
    (partial / ".fetched.json").write_text(json.dumps({"a": "v"}))
    # The last block was in the file, but not on the disk, when the power failed.
    (partial / "a.part").write_bytes(b"01234567\0\0")
    remote = Scripted(content)
    store.fill(remote, [RemoteFile("a", 16, "v")], tmp_path / "key", lambda _: None)
    assert (tmp_path / "key/a").read_bytes() == content
    assert remote.offsets == [4]


def test_partial_file_of_another_version_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BLOCK", 2)
    partial = tmp_path / "key.partial"
    partial.mkdir()
    (partial / ".fetched.json").write_text(json.dumps({"a": "old", "gone": "v"}))
    for name in ("a.part", "gone"):
        (partial / name).write_bytes(b"xxxxxxxx")
    store.fill(Scripted(b"0123"), [RemoteFile("a", 4, "new")], tmp_path / "key", lambda _: None)
    assert {path.name for path in (tmp_path / "key").iterdir()} == {"a", ".fetched.json"}
    assert (tmp_path / "key/a").read_bytes() == b"0123"


def test_two_fetches_without_a_lock_do_not_damage_each_others_files(tmp_path: Path) -> None:
    """The second fetch fills the same directory meanwhile, as on a volume without locks."""
    content, target = b"0123456789", tmp_path / "key"
    files = [RemoteFile("a", 10, "v"), RemoteFile("b", 10, "v")]

    class Overtaken(Scripted):
        def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
            if not target.exists():
                store.fill(Scripted(content), files, target, lambda _: None)
            yield from super().read(file, offset)

    store.fill(Overtaken(content), files[:1], target, lambda _: None)
    assert {path.name for path in target.iterdir()} == {"a", "b", ".fetched.json"}
    assert (target / "a").read_bytes() == (target / "b").read_bytes() == content
