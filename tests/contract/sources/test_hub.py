"""`hf://` from a hub on loopback with the real hub's API."""

import json
import socket
from pathlib import Path

import pytest

from diffusion_serving.fetch.model_files import inspect
from diffusion_serving.observability.startup_errors import DownloadFailed
from fetch_command import Command, FetchHere, fetched
from local_hub import LocalHub, Repo

Files = dict[str, bytes]
UNET = "unet/diffusion_pytorch_model.safetensors"


def test_model_is_fetched_whole_and_nothing_is_left_beside_it(
    hub: LocalHub, command: Command, store: Path, demo: Files
) -> None:
    run = command("hf://acme/shapes", store / "key")
    assert run.wait() == 0, run.output.read_text()
    assert fetched(store / "key") == demo
    assert inspect(store / "key").variant is None
    assert sorted(path.name for path in store.iterdir()) == ["key", "key.lock"]
    assert run.messages[0] == "fetching"
    assert "downloading" in run.messages
    assert run.messages[-1] == "fetched"


def test_fetched_model_is_not_fetched_again_even_without_a_network(
    hub: LocalHub, command: Command, store: Path
) -> None:
    assert command("hf://acme/shapes", store / "key").wait() == 0
    requests = len(hub.requests)
    again = command("hf://acme/shapes", store / "key", HF_ENDPOINT="http://127.0.0.1:1")
    assert again.wait() == 0
    assert again.messages == ["already there"]
    assert len(hub.requests) == requests


def test_only_what_is_served_is_downloaded(
    hub: LocalHub, fetch_here: FetchHere, demo: Files
) -> None:
    hub.repos["acme/shapes"].revisions["main"] = {
        **demo,
        "README.md": b"x",
        "v1-5-pruned.ckpt": b"x" * 100,
        "v1-5-pruned.safetensors": b"x" * 100,
        "unet/diffusion_pytorch_model.bin": b"x" * 100,
        "unet/diffusion_pytorch_model.fp16.safetensors": b"x" * 100,
        "unet/diffusion_pytorch_model.non_ema.safetensors": b"x" * 100,
        "safety_checker/model.safetensors": b"x" * 100,
        "vae_1_0/diffusion_pytorch_model.safetensors": b"x" * 100,
    }
    assert fetched(fetch_here("hf://acme/shapes")) == demo


@pytest.mark.parametrize(
    "arguments",
    [
        ["hf://acme/shapes", "v1"],
        ["hf://acme/shapes@v1"],
        ["hf://acme/shapes", "COMMIT"],
    ],
)
def test_revision_is_a_branch_a_tag_or_a_commit(
    hub: LocalHub, fetch_here: FetchHere, demo: Files, arguments: list[str]
) -> None:
    other = {**demo, "scheduler/scheduler_config.json": b'{"other": true}'}
    repo = Repo({"main": demo, "v1": other})
    hub.repos["acme/shapes"] = repo
    arguments = [word.replace("COMMIT", repo.commit("v1")) for word in arguments]
    assert fetched(fetch_here(*arguments)) == other


def test_all_files_are_of_the_commit_that_was_there_at_the_start(
    hub: LocalHub, fetch_here: FetchHere, demo: Files
) -> None:
    newer = {path: content + b" " for path, content in demo.items() if path.endswith(".json")}

    class Moving(Repo):
        """A repository whose branch has another commit after the first request."""

        def files(self, revision: str) -> tuple[str, Files] | None:
            commit_and_files = super().files(revision)
            # A commit that no branch names any more can still be read, as in git.
            self.revisions = {"old": demo, "main": {**demo, **newer}}
            return commit_and_files

    hub.repos["acme/shapes"] = Moving({"main": demo})
    assert fetched(fetch_here("hf://acme/shapes")) == demo


def test_private_model_needs_the_right_token_which_is_never_logged(
    hub: LocalHub, command: Command, store: Path, demo: Files
) -> None:
    hub.repos["acme/shapes"] = Repo({"main": demo}, token="hf_hush-hush")
    none = command("hf://acme/shapes", store / "key").refusal
    assert none["reason"] == "DownloadFailed"
    assert "private and needs a token" in none["message"]
    assert "none is given" in none["message"]
    wrong = command("hf://acme/shapes", store / "key", HF_TOKEN="hf_other").refusal
    assert "not found" in wrong["message"]
    assert "none is given" not in wrong["message"]
    right = command("hf://acme/shapes", store / "key", HF_TOKEN="hf_hush-hush")
    assert right.wait() == 0
    assert fetched(store / "key") == demo
    output = "".join(run.output.read_text() for run in command.runs) + json.dumps([none, wrong])
    assert "hush" not in output
    assert "hf_other" not in output
    assert hub.keys_at_the_store == []


def test_refused_token_is_reported(hub: LocalHub, command: Command, store: Path) -> None:
    refusal = command("hf://acme/shapes", store / "key", HF_TOKEN="expired-hush").refusal
    assert refusal["reason"] == "DownloadFailed"
    assert "refused the token" in refusal["message"]
    assert "model.tokenSecretRef" in refusal["message"]
    assert "hush" not in json.dumps(refusal) + command.runs[-1].output.read_text()


def test_gated_model_is_reported(hub: LocalHub, fetch_here: FetchHere) -> None:
    hub.repos["acme/shapes"].gated = True
    with pytest.raises(DownloadFailed, match=r"is gated\. Accept its conditions"):
        fetch_here("hf://acme/shapes")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf://acme/circles", "hf://acme/circles was not found"),
        ("hf://acme/shapes@v9", "no such branch, tag or commit"),
        ("hf://acme/shapes/nowhere", "has no file nowhere"),
    ],
)
def test_missing_model_revision_or_file_is_reported(
    hub: LocalHub, fetch_here: FetchHere, source: str, words: str
) -> None:
    with pytest.raises(DownloadFailed) as refused:
        fetch_here(source)
    assert words in str(refused.value)


def test_hub_that_cannot_be_reached_is_named(
    command: Command, fetch_here: FetchHere, without_pauses: None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    command.environ["HF_ENDPOINT"] = endpoint
    with pytest.raises(DownloadFailed, match=f"{endpoint} cannot be reached.* tried 6 times"):
        fetch_here("hf://acme/shapes")


def test_request_to_overloaded_hub_is_repeated(
    hub: LocalHub, fetch_here: FetchHere, demo: Files
) -> None:
    hub.faults.overloaded = 3
    assert fetched(fetch_here("hf://acme/shapes")) == demo


def test_broken_download_resumes_where_it_broke(
    hub: LocalHub, command: Command, store: Path, large: Files
) -> None:
    hub.repos["acme/shapes"].revisions["main"] = large
    hub.faults.cut_after, hub.faults.cuts = 20_000_000, 2
    run = command("hf://acme/shapes", store / "key")
    assert run.wait() == 0, run.output.read_text()
    assert run.messages.count("a download broke off") == 2
    assert fetched(store / "key") == large
    assert hub.served[UNET] < len(large[UNET]) + 2_000_000
