"""The order of an installation's steps, with fake commands that only record their call."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import install as installing
from commands import Commands, InstallError

IMAGES = {name: f"diffusion-{name}:1" for name in ("operator", "loadtest", "fastapi")}
ANSWERS = {
    "adopt": "",
    "up": "",
    "kubeconfig": "/kubeconfig\n",
    "kubectl": "/bin/kubectl\n",
    "helm": "/bin/helm\n",
    "build": json.dumps(IMAGES),
    "load": "\n".join(f"registry/{image}" for image in IMAGES.values()),
    "tidy": "",
    "chart": "",
}


def step(command: Sequence[str]) -> str:
    if "images/build.py" in command:
        return "build"
    if "upgrade" in command:
        return "chart"
    return command[4] if command[3] == "tool" else command[3]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A function that installs, calls `during` in each step, and returns the steps in order."""

    def run(during: Callable[[str], object] = lambda _: None) -> list[str]:
        ended: list[str] = []

        def output(_: Commands, subject: str, command: Sequence[str], what: str) -> str:
            assert subject
            assert what
            during(step(command))
            ended.append(step(command))
            return ANSWERS[step(command)]

        monkeypatch.setattr(Commands, "output", output)
        installed = installing.install("demo")
        assert (installed.kubeconfig, installed.kubectl) == ("/kubeconfig", "/bin/kubectl")
        return ended

    return run


def test_each_step_comes_after_what_it_needs(steps: Callable[..., list[str]]) -> None:
    order = steps()
    for first, then in [
        ("adopt", "up"),
        ("up", "load"),
        ("build", "load"),
        ("load", "chart"),
        ("helm", "chart"),
        ("helm", "tidy"),
    ]:
        assert order.index(first) < order.index(then)


@pytest.mark.parametrize("pair", [("up", "build"), ("helm", "load")])
def test_computing_and_downloading_steps_run_in_parallel(
    steps: Callable[..., list[str]], pair: tuple[str, str]
) -> None:
    both = threading.Barrier(2, timeout=30)
    steps(lambda name: both.wait() if name in pair else None)


def test_the_first_failure_ends_running_commands(
    steps: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(Commands, "end", lambda _: ended.set())

    def during(name: str) -> None:
        if name == "up":
            raise InstallError("starting the cluster failed")
        if name != "adopt":
            assert ended.wait(30), "the image build would continue for minutes"

    with pytest.raises(InstallError, match="starting the cluster failed"):
        steps(during)


def test_the_chart_gets_the_image_names_that_pods_use(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def output(_: Commands, subject: str, command: Sequence[str], what: str) -> str:
        calls.append((subject, what, list(command)))
        return ANSWERS[step(command)]

    monkeypatch.setattr(Commands, "output", output)
    installing.install("demo")
    _, _, chart = calls[-1]
    assert chart[0] == "/bin/helm"
    assert "--set-string=images.operator=registry/diffusion-operator:1" in chart
    assert "--set-string=images.backends.fastapi=registry/diffusion-fastapi:1" in chart
