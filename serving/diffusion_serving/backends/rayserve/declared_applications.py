"""The Serve applications of a cluster's head, declared as KubeRay declares them.

KubeRay waits for the applications of its own declaration, a list of import paths, and declares them
only once the head is ready, which needs a replica. So the head declares the same list beforehand:
when KubeRay's comes, all of it runs already, and no application starts again.
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

log = logging.getLogger("diffusion_serving")

_MODULE = "diffusion_serving.backends.rayserve.deployment"
HEAD = "head"
APPLICATIONS: dict[str, Any] = {
    "proxy_location": "HeadOnly",
    "applications": [
        {"name": "diffusion", "route_prefix": "/", "import_path": f"{_MODULE}:declared_replicas"},
        {"name": HEAD, "route_prefix": "/healthz", "import_path": f"{_MODULE}:declared_head"},
    ],
}
"""The operator puts the same list into a RayService."""


_PAUSE_SECONDS = 1.0
_MESSAGE_LENGTH = 300
"""Characters that are kept of Ray's messages, the last ones: a traceback ends in its reason."""
_FINAL = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""Statuses that stay the same in every retry."""


class _NotYet(Exception):  # noqa: N818 - it passes
    """Serve does not run the applications yet; the message has the reason."""


def declare(port: int, environ: Mapping[str, str], check: Callable[[], None]) -> None:
    """Declares the applications to the node's own dashboard, and waits until Serve runs them.

    Returns when the head's own application runs and Serve knows the replicas' deployment: replicas
    come with the workers, and a worker itself reports a replica that cannot start.

    Args:
        port: the dashboard's.
        environ: has Ray's token.
        check: raises if Ray has ended; called at least once a second.

    Raises:
        RayEnded: Serve refuses, fails, or does not answer in time.

    """
    dashboard = _Dashboard(port, environ.get("RAY_AUTH_TOKEN", ""))
    _in_time(lambda: dashboard.ask("PUT", json.dumps(APPLICATIONS).encode()), check)
    _in_time(lambda: _require_running(json.loads(dashboard.ask("GET"))["applications"]), check)
    log.info("Ray Serve runs the declared applications")


class _Dashboard:
    """Ray's dashboard on this machine."""

    def __init__(self, port: int, token: str) -> None:
        self._url = f"http://127.0.0.1:{port}/api/serve/applications/"
        self._headers = {
            "Content-Type": "application/json",
            "x-ray-authorization": f"Bearer {token}",
        }
        # No proxy, even if the environment names one: the token is for this machine alone.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, body: bytes | None = None) -> bytes:
        """Sends a request about the declared applications and returns the response's body."""
        request = urllib.request.Request(  # noqa: S310 - of http alone
            self._url, data=body, headers=self._headers, method=method
        )
        try:
            with self._opener.open(request, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            reason = (
                f"status {error.code}: {error.read().decode(errors='replace')[-_MESSAGE_LENGTH:]}"
            )
            if error.code in _FINAL:
                raise RayEnded(f"Ray's dashboard refuses Serve's applications: {reason}") from None
            raise _NotYet(reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise _NotYet(str(error) or type(error).__name__) from None


def _require_running(applications: Mapping[str, Any]) -> None:
    """Requires by the dashboard's answer that each application runs.

    Raises:
        RayEnded: Serve has given one up.
        _NotYet: one is not there.

    """
    for declared in APPLICATIONS["applications"]:
        name = declared["name"]
        application = applications.get(name, {})
        status = application.get("status", "NOT_STARTED")
        deployments = application.get("deployments", {})
        reasons = [application, *deployments.values()]
        message = " ".join(words for reason in reasons if (words := reason.get("message")))[
            -_MESSAGE_LENGTH:
        ]
        if status == "DEPLOY_FAILED":
            raise RayEnded(f"Ray Serve could not start the application {name}: {message}")
        # Deployments show that Serve has read it; their replicas come with the workers.
        if status != "RUNNING" and (name == HEAD or not deployments):
            raise _NotYet(f"the application {name} is {status}. {message}".rstrip())


def _in_time(attempt: Callable[[], object], check: Callable[[], None]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        check()
        try:
            attempt()
        except _NotYet as why:
            if time.monotonic() > deadline:
                raise RayEnded(f"Ray Serve does not run its applications: {why}") from None
        else:
            return
        time.sleep(_PAUSE_SECONDS)
