"""Filling a directory: several processes, a kill, a full disk, bad content."""

import json
from pathlib import Path
from typing import Any

import pytest

from diffusion_serving.observability.startup_errors import (
    DownloadFailed,
    InvalidConfiguration,
    ModelLoadFailed,
)
from fetch_command import Command, FetchHere, Run, fetched, weights
from local_hub import LocalHub, Repo
from waiting import eventually

Files = dict[str, bytes]
UNET = "unet/diffusion_pytorch_model.safetensors"
MIB = 1024 * 1024


def is_under_way(store: Path) -> bool:
    """Whether more than half of the large U-Net is on the disk."""
    part = store / f"key.partial/{UNET}.part"
    return part.exists() and part.stat().st_size >= 25 * MIB


def test_three_that_start_together_download_once(
    hub: LocalHub, command: Command, store: Path, demo: Files
) -> None:
    hub.faults.bytes_per_second = 2 * MIB
    runs = [command("hf://acme/shapes", store / "key") for _ in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert fetched(store / "key") == demo
    weights_alone = {path for path in demo if path.endswith(".safetensors")}
    assert {path: hub.served[path] for path in weights_alone} == {
        path: len(demo[path]) for path in weights_alone
    }
    assert [run.messages[-1] for run in runs].count("fetched") == 1


def test_another_process_resumes_the_download_of_a_killed_one(
    hub: LocalHub, command: Command, store: Path, large: Files
) -> None:
    hub.repos["acme/shapes"].revisions["main"] = large
    hub.faults.bytes_per_second = 8 * MIB
    runs = [command("hf://acme/shapes", store / "key") for _ in range(3)]
    eventually(lambda: is_under_way(store))
    (downloading,) = [run for run in runs if "downloading" in run.messages]
    downloading.kill()
    others = [run for run in runs if run is not downloading]
    assert not (store / "key").exists()
    hub.faults.bytes_per_second = None
    assert [run.wait() for run in others] == [0, 0]
    assert fetched(store / "key") == large
    # At most two blocks, not yet synced to disk, and the data in transit are fetched twice.
    assert hub.served[UNET] < len(large[UNET]) + 24 * MIB
    assert sorted(path.name for path in store.iterdir()) == ["key", "key.lock"]


def test_restart_after_a_kill_resumes_the_download(
    hub: LocalHub, command: Command, store: Path, large: Files
) -> None:
    hub.repos["acme/shapes"].revisions["main"] = large
    hub.faults.bytes_per_second = 8 * MIB
    first = command("hf://acme/shapes", store / "key")
    eventually(lambda: is_under_way(store))
    first.kill()
    hub.faults.bytes_per_second = None
    before = hub.served.copy()
    assert command("hf://acme/shapes", store / "key").wait() == 0
    assert fetched(store / "key") == large
    again = hub.served - before
    assert 0 < again[UNET] < len(large[UNET]) - 8 * MIB
    assert "vae/diffusion_pytorch_model.safetensors" not in again  # already complete


def test_file_that_changed_since_is_fetched_anew(
    hub: LocalHub, command: Command, store: Path, large: Files
) -> None:
    repo = hub.repos["acme/shapes"]
    repo.revisions["main"] = large
    hub.faults.bytes_per_second = 8 * MIB
    first = command("hf://acme/shapes", store / "key")
    eventually(lambda: is_under_way(store))
    first.kill()
    hub.faults.bytes_per_second = None
    repo.revisions["main"] = {**large, UNET: weights(40, seed=1)}
    assert command("hf://acme/shapes", store / "key").wait() == 0
    assert fetched(store / "key") == repo.revisions["main"]


def test_server_that_knows_no_ranges_sends_the_file_again(
    hub: LocalHub, command: Command, store: Path, demo: Files
) -> None:
    hub.faults.no_ranges = True
    hub.faults.cut_after, hub.faults.cuts = 2 * MIB, 1
    run = command("hf://acme/shapes", store / "key")
    assert run.wait() == 0, run.output.read_text()
    assert fetched(store / "key") == demo
    assert "a download broke off" in run.messages


def test_damaged_content_is_refused_and_fetched_anew(
    hub: LocalHub, fetch_here: FetchHere, store: Path, demo: Files
) -> None:
    hub.faults.wrong_bytes = True
    with pytest.raises(DownloadFailed, match="arrived damaged"):
        fetch_here("hf://acme/shapes")
    assert not (store / "key").exists()
    hub.faults.wrong_bytes = False
    assert fetched(fetch_here("hf://acme/shapes")) == demo


def test_too_small_disk_is_reported_before_anything_is_downloaded(
    hub: LocalHub, command: Command, tiny_disk: Path, large: Files
) -> None:
    hub.repos["acme/shapes"].revisions["main"] = large
    run = command("hf://acme/shapes", tiny_disk / "key")
    assert run.refusal["reason"] == "DownloadFailed"
    assert "49.5 MiB are to be downloaded, 16.0 MiB are free" in run.refusal["message"]
    assert "model.cache.size" in run.refusal["message"]
    assert hub.served[UNET] == 0


def test_disk_that_fills_up_meanwhile_is_reported(
    hub: LocalHub, command: Command, tiny_disk: Path
) -> None:
    hub.faults.bytes_per_second = 2 * MIB
    run = command("hf://acme/shapes", tiny_disk / "key")
    eventually(lambda: hub.served[UNET] > MIB)
    (tiny_disk / "other").write_bytes(b"x" * 10 * MIB)
    assert run.refusal["reason"] == "DownloadFailed"
    assert "The disk got full" in run.refusal["message"]


def test_directory_that_cannot_be_written_is_reported(hub: LocalHub, command: Command) -> None:
    refusal = command("hf://acme/shapes", Path("/proc/nowhere/key")).refusal
    assert refusal["reason"] == "DownloadFailed"
    assert "cannot be written" in refusal["message"]


def without(files: Files, *endings: str) -> Files:
    return {path: content for path, content in files.items() if not path.endswith(endings)}


def pickled(files: Files) -> Files:
    return {**without(files, UNET), "unet/diffusion_pytorch_model.bin": b"\x80\x04."}


def cut(files: Files) -> Files:
    return {**files, UNET: files[UNET][:-100]}


def pointer(files: Files) -> Files:
    return {**files, UNET: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"}


def other_pipeline(files: Files) -> Files:
    index = json.loads(files["model_index.json"]) | {"_class_name": "FluxPipeline"}
    return {**files, "model_index.json": json.dumps(index).encode()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pickled, "its unet only as a pickle"),
        (cut, "not a whole safetensors file"),
        (pointer, "only Git LFS's pointer"),
        (other_pipeline, "names the pipeline class 'FluxPipeline'"),
        (lambda files: without(files, UNET), "no diffusion_pytorch_model.safetensors"),
        (lambda files: {**files, "model_index.json": b"{"}, "model_index.json is not JSON"),
        (lambda _: {"model.ckpt": b"\x80\x04."}, "its weights only as a pickle"),
        (lambda _: {"README.md": b"#"}, "neither a diffusers pipeline nor a LoRA"),
    ],
)
def test_content_that_cannot_be_loaded_is_refused_and_not_put_in_place(
    hub: LocalHub, fetch_here: FetchHere, store: Path, change: Any, words: str
) -> None:
    revisions = hub.repos["acme/shapes"].revisions
    revisions["main"] = change(revisions["main"])
    with pytest.raises(ModelLoadFailed) as refused:
        fetch_here("hf://acme/shapes")
    assert words in str(refused.value)
    assert not (store / "key").exists()


def test_refusal_of_content_is_the_termination_message(
    hub: LocalHub, command: Command, store: Path
) -> None:
    revisions = hub.repos["acme/shapes"].revisions
    revisions["main"] = pickled(revisions["main"])
    refusal = command("hf://acme/shapes", store / "key").refusal
    assert refusal["reason"] == "ModelLoadFailed"
    assert "convert it once with StableDiffusionPipeline" in refusal["message"]


def test_fixed_source_replaces_the_content_that_was_refused(
    hub: LocalHub, fetch_here: FetchHere, demo: Files
) -> None:
    revisions = hub.repos["acme/shapes"].revisions
    revisions["main"] = cut(demo)
    with pytest.raises(ModelLoadFailed):
        fetch_here("hf://acme/shapes")
    revisions["main"] = demo
    assert fetched(fetch_here("hf://acme/shapes")) == demo


@pytest.mark.parametrize(
    ("source", "files", "name"),
    [
        ("hf://acme/ink", {"ink.safetensors": weights(), "README.md": b"#"}, "ink.safetensors"),
        (
            "hf://acme/ink",
            {"pytorch_lora_weights.safetensors": weights(), "old.safetensors": weights()},
            "pytorch_lora_weights.safetensors",
        ),
        ("hf://acme/ink/a/b.safetensors", {"a/b.safetensors": weights()}, "b.safetensors"),
        ("hf://acme/ink/a", {"a/b.safetensors": weights(), "c.bin": b"x"}, "b.safetensors"),
    ],
)
def test_lora_is_one_safetensors_file(
    hub: LocalHub, fetch_here: FetchHere, source: str, files: Files, name: str
) -> None:
    hub.repos["acme/ink"] = Repo({"main": files})
    assert list(fetched(fetch_here(source))) == [name]


def test_model_may_lie_below_a_path(hub: LocalHub, fetch_here: FetchHere, demo: Files) -> None:
    below = {f"models/sd/{path}": content for path, content in demo.items()}
    hub.repos["acme/all"] = Repo({"main": {**below, "models/sd2/x.json": b"{}"}})
    assert fetched(fetch_here("hf://acme/all/models/sd")) == demo


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pvc://claim/model"], "write hf://org/repo, s3://bucket/path or gs://bucket/path"),
        (["hf://"], "cannot be fetched"),
        (["hf://acme/shapes@v1", "v2"], "leave one out"),
        (["s3://bucket/model", "v2"], "only hf:// sources have"),
    ],
)
def test_source_that_is_written_wrong_is_refused(
    fetch_here: FetchHere, arguments: list[str], words: str
) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        fetch_here(*arguments)
    assert words in str(refused.value)


def test_repository_cannot_write_outside_of_its_directory(
    hub: LocalHub, fetch_here: FetchHere, store: Path, demo: Files
) -> None:
    index = json.loads(demo["model_index.json"]) | {"..": ["diffusers", "UNet2DConditionModel"]}
    hub.repos["acme/shapes"].revisions["main"] = {
        **demo,
        "model_index.json": json.dumps(index).encode(),
        "../diffusion_pytorch_model.safetensors": weights(),
    }
    with pytest.raises(DownloadFailed, match="outside of itself"):
        fetch_here("hf://acme/shapes")
    assert not (store / "diffusion_pytorch_model.safetensors").exists()


def test_end_by_a_signal_is_quick(hub: LocalHub, command: Command, store: Path) -> None:
    hub.faults.bytes_per_second = MIB
    run: Run = command("hf://acme/shapes", store / "key")
    eventually(lambda: "downloading" in run.messages)
    run.process.terminate()
    assert run.wait(5) == 143
