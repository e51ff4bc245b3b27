"""Queries to a registry, so that no image is copied twice."""

import http.client
import json
from dataclasses import dataclass

from localcluster.references import Reference

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass(frozen=True)
class Held:
    """The digests of an image: `digest` of the manifest, `image` of the configuration; hex.

    The configuration's digest is the image's id.
    """

    digest: str
    image: str


def held(host: str, reference: Reference, *, timeout: float = 5.0) -> Held | None:
    """The image of that name in the plain-HTTP registry at `host`; None if there is no answer."""
    connection = http.client.HTTPConnection(host, timeout=timeout)
    try:
        path = f"/v2/{reference.path}/manifests/{reference.tag}"
        connection.request("GET", path, headers={"Accept": _MANIFESTS})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        return None
    digest = answer.getheader("Docker-Content-Digest", "")
    image = json.loads(body).get("config", {}).get("digest", "")
    return Held(digest.removeprefix("sha256:"), image.removeprefix("sha256:"))
