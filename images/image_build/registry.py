"""Questions to a registry: its protocol and its images."""

import ipaddress
import urllib.error
import urllib.request

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)
_TIMEOUT_SECONDS = 10.0


def speaks_plain_http(registry: str) -> bool:
    """Whether `registry` (host[:port][/path]) is this machine or the local cluster, without TLS."""
    host = registry.partition("/")[0].rsplit(":", 1)[0].strip("[]")
    if host == "localhost" or host.endswith(".localcluster"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def holds(registry: str, name: str, tag: str, *, plain_http: bool) -> bool:
    """Whether `registry` has name:tag; False if that is unknown, as when it requires a login."""
    host, _, path = registry.partition("/")
    repository = f"{path}/{name}" if path else name
    url = f"{'http' if plain_http else 'https'}://{host}/v2/{repository}/manifests/{tag}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": _MANIFESTS})  # noqa: S310 - http is meant
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310 - http is meant
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False
