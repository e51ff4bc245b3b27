"""A demonstration: a cluster, the operator, a served model, checked pictures, a load test.

``make demo`` runs this program. The demo compares each picture with its prompt, and fails if one of
them shows another subject.
"""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "images")]

from commands import InstallError, ended_by_sigterm  # noqa: E402 - found only with the path above
from demo_model.checker import look, read  # noqa: E402 - same
from demo_model.shapes import parse  # noqa: E402 - same
from install import Installed, install  # noqa: E402 - same

OUT = ROOT / "demo"
NAMESPACE = "diffusion-demo"
SERVICE = TEST = "demo"
FIRST_START_SECONDS = 900
PICTURES = {
    "a red circle on a blue background": 1,
    "two green squares": 2,
    "three yellow stars on a black background": 3,
}


class DemoError(Exception):
    """A step failed; the message gives the reason."""


class Demo:
    """The steps of the demo, each of which shows its progress."""

    def __init__(self, installed: Installed) -> None:
        self._command = [*installed.kubectl_command(), f"--namespace={NAMESPACE}"]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [*self._command, *arguments], input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DemoError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def status(self, kind: str, name: str) -> dict[str, Any]:
        resource: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        status: dict[str, Any] = resource.get("status") or {}
        current = status.get("observedGeneration") == resource["metadata"]["generation"]
        return status if current else {}

    def apply(self) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
        # A finished LoadTest does not run again, so each demo creates a new one.
        self.kubectl("delete", "loadtest", TEST, "--ignore-not-found")
        for example in ("diffusionservice.yaml", "loadtest.yaml"):
            print(self.kubectl("apply", "-f", str(ROOT / "examples" / example)), end="")

    def wait_until_ready(self) -> None:
        with progress("waiting for the service") as show:
            for _ in every_second(FIRST_START_SECONDS):
                ready = condition(self.status("dsvc", SERVICE), "Ready")
                show(ready.get("message", ""))
                if ready.get("status") == "True":
                    return
        raise DemoError(f"the service isn't Ready: {ready.get('reason')}: {ready.get('message')}")

    def draw(self) -> None:
        OUT.mkdir(exist_ok=True)
        with self.forwarded() as address:
            for prompt, seed in PICTURES.items():
                picture = OUT / f"{prompt.replace(' ', '-')}.png"
                picture.write_bytes(generate(address, prompt, seed))
                seen = look(read(picture))
                print(f"{picture.relative_to(ROOT)} shows {seen}")
                if wrong := seen.differences(parse(prompt)):
                    raise DemoError(f"{picture.name} has the wrong {', '.join(wrong)}")

    @contextmanager
    def forwarded(self) -> Iterator[str]:
        """A local address of the service, from ``kubectl port-forward``."""
        forward = subprocess.Popen(
            [*self._command, "port-forward", f"service/{SERVICE}", ":80"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            line = forward.stdout.readline() if forward.stdout else ""
            # The line is: Forwarding from 127.0.0.1:PORT -> 8000
            if "->" not in line:
                raise DemoError("kubectl port-forward ended: see its message above")
            yield f"http://{line.split(' -> ')[0].split()[-1]}"
        finally:
            forward.terminate()
            forward.wait()

    def wait_for_the_figures(self) -> None:
        with progress("load test") as show:
            for _ in every_second(FIRST_START_SECONDS):
                status = self.status("lt", TEST)
                now = status.get("progress") or {}
                state = status.get("state", "")
                show(
                    f"stage {now['stage']}/{now['stages']}, {now['users']} users, "
                    f"{now['requests']} requests, {now['failures']} failed"
                    if now
                    else state
                )
                if state in {"Complete", "Failed"}:
                    break
        failed = condition(status, "Failed")
        if state != "Complete":
            raise DemoError(f"the load test is {state}: {failed.get('message')}")

    def show(self) -> None:
        print("\n$ kubectl get diffusionservices,loadtests")
        print(self.kubectl("get", "diffusionservices,loadtests"))


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of type `kind`, or an empty mapping."""
    return next((each for each in status.get("conditions", ()) if each["type"] == kind), {})


def generate(address: str, prompt: str, seed: int) -> bytes:
    """One picture, as PNG."""
    body = json.dumps({"prompt": prompt, "seed": seed}).encode()
    request = Request(  # noqa: S310 - the address is this program's own port-forward
        f"{address}/predict", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urlopen(request, timeout=120) as response:  # noqa: S310 - same
            return base64.b64decode(json.load(response)["images"][0])
    except URLError as error:
        raise DemoError(f"no picture of {prompt!r}: {error}") from error


def every_second(most: int) -> Iterator[int]:
    """Counts seconds, at most `most`."""
    for second in range(most):
        yield second
        time.sleep(1)


@contextmanager
def progress(subject: str) -> Iterator[Any]:
    """Shows progress: on a terminal in one line, elsewhere with a line for each change."""
    begun, last, live = time.monotonic(), "", sys.stdout.isatty()

    def show(text: str) -> None:
        nonlocal last
        if text != last or live:
            line = f"{subject}: {text} ({time.monotonic() - begun:.0f} s)"
            print(f"\r\033[K{line}" if live else line, end="" if live else "\n", flush=True)
        last = text

    try:
        yield show
    finally:
        if live:
            print()


def main() -> int:
    begun = time.monotonic()
    try:
        with ended_by_sigterm():
            demo = Demo(install(os.environ.get("CLUSTER", "diffusion")))
        demo.apply()
        demo.wait_until_ready()
        demo.draw()
        demo.wait_for_the_figures()
        demo.show()
    except (DemoError, InstallError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Done in {time.monotonic() - begun:.0f} s. The pictures are in {OUT.name}/; "
          "`make cluster-down` removes the local cluster.")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
