"""kubectl, as the tests use it: what a person would type, and what they would wait for."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

Object = dict[str, Any]
T = TypeVar("T")


class KubectlError(Exception):
    """kubectl answered with an error; the message is its stderr."""


class Kubectl:
    """kubectl against one cluster and one namespace."""

    def __init__(self, program: str, kubeconfig: str, namespace: str = "default") -> None:
        self.program = program
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Standard output of the command. Raises ``KubectlError``."""
        command = [
            self.program,
            f"--kubeconfig={self.kubeconfig}",
            f"--namespace={self.namespace}",
            *arguments,
        ]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def in_namespace(self, namespace: str) -> "Kubectl":
        return Kubectl(self.program, self.kubeconfig, namespace)

    def apply(self, manifest: Object) -> None:
        self("apply", "-f", "-", stdin=json.dumps(manifest))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self("get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, name: str) -> Object | None:
        """The object, or nothing where there is none."""
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def status(self, kind: str, name: str) -> Object:
        """The object's status, an empty mapping before it has one."""
        return self.get(kind, name).get("status") or {}

    def list(self, kind: str, selector: str = "") -> list[Object]:
        found: list[Object] = json.loads(self("get", kind, "-l", selector, "-o", "json"))["items"]
        return found

    def patch(self, kind: str, name: str, patch: Object, *more: str) -> None:
        self("patch", kind, name, "--type=merge", "-p", json.dumps(patch), *more)


def eventually(
    look: Callable[[], T | None], *, within: float = 30, what: str = "", every: float = 0.1
) -> T:
    """The first truthy answer of ``look``; fails with the last one after ``within`` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {found!r}")
        time.sleep(every)


def condition(obj: Object, kind: str) -> Object:
    """The condition of that type, or an empty mapping."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((found for found in conditions if found["type"] == kind), {})
