"""What the head of a cluster has Serve run where KubeRay follows it.

KubeRay waits for what it has declared itself, a list of import paths, and declares it only once the
head is ready, which needs a replica. So the head declares the same list beforehand: when KubeRay's
comes, it finds all of it running, and nothing starts anew.
"""

import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from diffusion_serving.backends.rayserve.node import START_SECONDS, RayEnded

log = logging.getLogger(__name__)

_PLACE = "diffusion_serving.backends.rayserve.deployment"
HEAD = "head"
APPLICATIONS: dict[str, Any] = {
    "proxy_location": "HeadOnly",
    "applications": [
        {"name": "diffusion", "route_prefix": "/", "import_path": f"{_PLACE}:declared_replicas"},
        {"name": HEAD, "route_prefix": "/healthz", "import_path": f"{_PLACE}:declared_head"},
    ],
}
"""The operator puts the same list into a RayService."""


_PAUSE_SECONDS = 1.0
_SAID = 300
"""Characters that are kept of what Ray says, the last ones: there a traceback has its reason."""
_FINAL = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""Answers that stay the same however often one asks."""


class _NotYet(Exception):  # noqa: N818 - it passes
    """Why Serve does not run the applications so far."""


def declare(port: int, environ: Mapping[str, str], check: Callable[[], None]) -> None:
    """Tells the node's own dashboard, which takes seconds to start, and waits for what comes of it.

    Returns when the head's own application runs and Serve knows what the replicas are: of those
    there are none until a worker is there, and one that can't start is told of by its worker.

    Args:
        port: the dashboard's.
        environ: has Ray's token.
        check: raises if Ray has ended; called at least once a second.

    Raises:
        RayEnded: it refuses, fails, or does not answer in time.

    """
    dashboard = _Dashboard(port, environ.get("RAY_AUTH_TOKEN", ""))
    _in_time(lambda: dashboard.ask("PUT", json.dumps(APPLICATIONS).encode()), check)
    _in_time(lambda: _require_running(json.loads(dashboard.ask("GET"))["applications"]), check)
    log.info("Ray Serve runs what was declared")


class _Dashboard:
    """Ray's own pages, on this machine."""

    def __init__(self, port: int, token: str) -> None:
        self._url = f"http://127.0.0.1:{port}/api/serve/applications/"
        self._headers = {
            "Content-Type": "application/json",
            "x-ray-authorization": f"Bearer {token}",
        }
        # Whatever proxy the environment names: the token is for this machine alone.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, body: bytes | None = None) -> bytes:
        """The answer to what is declared, or asked about it."""
        request = urllib.request.Request(  # noqa: S310 - of http alone
            self._url, data=body, headers=self._headers, method=method
        )
        try:
            with self._opener.open(request, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            said = f"status {error.code}: {error.read().decode(errors='replace')[-_SAID:]}"
            if error.code in _FINAL:
                raise RayEnded(f"Ray's dashboard refuses what Serve is to run: {said}") from None
            raise _NotYet(said) from None
        except (OSError, http.client.HTTPException) as error:
            raise _NotYet(str(error) or type(error).__name__) from None


def _require_running(found: Mapping[str, Any]) -> None:
    """Of what the dashboard tells of each application.

    Raises:
        RayEnded: Serve has given one up.
        _NotYet: one is not there.

    """
    for wanted in APPLICATIONS["applications"]:
        name = wanted["name"]
        application = found.get(name, {})
        status = application.get("status", "NOT_STARTED")
        deployments = application.get("deployments", {})
        reasons = [application, *deployments.values()]
        said = " ".join(words for reason in reasons if (words := reason.get("message")))[-_SAID:]
        if status == "DEPLOY_FAILED":
            raise RayEnded(f"Ray Serve could not start the application {name}: {said}")
        # With deployments it has been read; then replicas come with the workers.
        if status != "RUNNING" and (name == HEAD or not deployments):
            raise _NotYet(f"the application {name} is {status}. {said}".rstrip())


def _in_time(attempt: Callable[[], object], check: Callable[[], None]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        check()
        try:
            attempt()
        except _NotYet as why:
            if time.monotonic() > deadline:
                raise RayEnded(f"Ray Serve does not run what it was told to: {why}") from None
        else:
            return
        time.sleep(_PAUSE_SECONDS)
