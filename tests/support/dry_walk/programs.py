"""Stand-ins of the programs of the workflows and guides.

A stand-in accepts only the commands and options that the real program has, asks for what the real
one needs first, such as a login, and answers in the real one's form. The sources here:
docs.docker.com/reference/cli/docker/buildx/imagetools (and docker/buildx, util/imagetools),
cli.github.com/manual, helm.sh/docs/helm and kubernetes.io's reference of kubectl.
"""

import fcntl
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dry_walk.calls import Call, fail
from dry_walk.gcloud import gcloud
from dry_walk.terraform import terraform

DOCKER = {
    "buildx imagetools inspect": {"--format"},
    "buildx imagetools create": {"--tag"},
}
GH = {
    "api": {"--jq"},
    "attestation verify": {"--repo", "--source-ref", "--signer-workflow", "--owner"},
    "release create": {"--title", "--notes-file", "--verify-tag"},
}
HELM = {"package": {"--version", "--app-version", "--destination"}, "push": set()}
KUBECTL = {
    "apply": {"--filename", "-f", "--server-side", "-k", "--namespace", "--field-manager"},
    "config set-context": {"--current", "--namespace"},
    "create namespace": set(),
    "delete": {"--all", "-A", "--timeout"},
    "get": {"--output", "--sort-by", "--watch", "-A", "--field-selector", "-n"},
    "logs": {"--tail"},
    "patch": {"--local", "--filename", "--type", "--patch", "--output"},
    "wait": {"--for", "--all", "--timeout"},
    "describe": set(),
}


def docker(words: list[str], state: dict[str, Any]) -> None:
    call = Call(words, DOCKER)
    if call.command.endswith("create"):
        name, digest = call.value("--tag").rpartition(":")[0], call.operands[0].rpartition("@")[2]
        state["images"].append(f"{name}@{digest}")
        return
    name = call.operands[0]
    if name.partition("/")[0] not in state["docker"]:
        fail(f"{name}: failed to authorize: 401 Unauthorized")
    digest = name.partition("@")[2]
    if not digest and name in state["tags"]:
        digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    if not digest or (name not in state["images"] and name not in state["tags"]):
        fail(f"{name}: not found")
    print(json.dumps({"schemaVersion": 2, "digest": digest}))


def gh(words: list[str], state: dict[str, Any]) -> None:
    call = Call(words, GH)
    if call.command == "attestation verify":
        if not os.environ.get("GH_TOKEN"):
            fail("To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN variable")
        if "@sha256:" not in call.operands[0] or not call.operands[0].startswith("oci://ghcr.io/"):
            fail(f"no image by digest: {call.operands[0]}")
        state["verified"].append(call.operands[0])
    elif call.command == "api":
        print('{"repository_id": "456789", "owner_id": "123456"}')


def kubectl(words: list[str], state: dict[str, Any]) -> None:
    leading = ["--namespace", "-n"]
    if words[0] in leading:
        words = words[2:]
    call = Call(words, KUBECTL)
    if not state["cluster"] and "--local" not in call.options:
        fail("The connection to the server localhost:8080 was refused")
    for name in (*call.options.get("--filename", []), *call.options.get("-f", [])):
        if name != "-" and not Path(name).exists():
            fail(f'the path "{name}" does not exist')
    if call.command == "wait" and call.value("--for") == "condition=Failed":
        signal.pause()  # a comparison that is complete never fails: the real one waits for its time
    if call.command == "get" and "jsonpath" in call.value("--output"):
        print("frameworks")


def jq(words: list[str], _: dict[str, Any]) -> None:
    """jq's one filter of the workflows: each value of an object, raw."""
    if words[:2] != ["--raw-output", ".[]"]:
        fail(f"no filter {words}")
    print("\n".join(json.loads(Path(words[2]).read_text()).values()))


def helm(words: list[str], state: dict[str, Any]) -> None:
    call = Call(words, HELM)
    if call.command == "package":
        folder = Path(call.value("--destination"))
        folder.mkdir(exist_ok=True)
        (folder / f"diffusion-operator-{call.value('--version')}.tgz").write_text("chart")
    else:
        if not Path(call.operands[0]).exists():
            fail(f"no chart {call.operands[0]}")
        state["images"].append(call.operands[1])


PROGRAMS = {
    "gcloud": gcloud,
    "terraform": terraform,
    "docker": docker,
    "gh": gh,
    "kubectl": kubectl,
    "jq": jq,
    "helm": helm,
}


CHANGING = PROGRAMS.keys() - {"kubectl", "jq"}


def main(name: str, words: list[str]) -> None:
    """Runs a stand-in on the world that a file holds."""
    with _world() as state:
        state["calls"].append(" ".join([name, *words]))
        if name in CHANGING:
            PROGRAMS[name](words, state)
    # Outside the lock: kubectl may wait for the end of its step.
    if name not in CHANGING:
        PROGRAMS[name](words, state)


@contextmanager
def _world() -> Iterator[dict[str, Any]]:
    """Holds the world for one program: those of a pipeline run at the same time."""
    with (Path(os.environ["DRY_WALK"]) / "state.json").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        try:
            yield state
        finally:
            file.seek(0)
            file.truncate()
            json.dump(state, file)
            file.flush()
