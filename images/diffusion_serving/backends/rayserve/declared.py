"""What the head of a cluster has Serve run where KubeRay follows it.

KubeRay waits for what it has declared itself, a list of import paths, and declares it only once the
head is ready, which needs a replica. So the head declares the same list beforehand: when KubeRay's
comes, it finds all of it running, and nothing starts anew.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus

from diffusion_serving.backends.rayserve.node import START_SECONDS, RayEnded

_PLACE = "diffusion_serving.backends.rayserve.deployment"
APPLICATIONS = {
    "proxy_location": "HeadOnly",
    "applications": [
        {"name": "diffusion", "route_prefix": "/", "import_path": f"{_PLACE}:declared_replicas"},
        {"name": "head", "route_prefix": "/healthz", "import_path": f"{_PLACE}:declared_head"},
    ],
}
"""The operator puts the same list into a RayService."""


def declare(port: int, environ: Mapping[str, str]) -> None:
    """Tells the node's own dashboard, which takes some seconds to start.

    Raises:
        RayEnded: it refuses, or does not answer in time.

    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/serve/applications/",
        data=json.dumps(APPLICATIONS).encode(),
        headers={
            "Content-Type": "application/json",
            "x-ray-authorization": f"Bearer {environ.get('RAY_AUTH_TOKEN', '')}",
        },
        method="PUT",
    )
    deadline = time.monotonic() + START_SECONDS
    while (why := _refused(request)) is not None:
        if time.monotonic() > deadline:
            raise RayEnded(f"Ray's dashboard did not take what Serve is to run: {why}")
        time.sleep(1.0)


def _refused(request: urllib.request.Request) -> str | None:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - of http alone
            return None if answer.status == HTTPStatus.OK else f"status {answer.status}"
    except urllib.error.HTTPError as error:
        return f"status {error.code}: {error.read(300).decode(errors='replace')}"
    except OSError as error:
        return str(error)
