"""ServiceAccount: an identity per resource, without a mounted token."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object


def service_account(
    owner: Mapping[str, Any], name: str, annotations: Mapping[str, str] | None = None
) -> Object:
    """Manifest of the ServiceAccount; clouds grant access by its annotations."""
    return child(
        owner,
        "ServiceAccount",
        name,
        annotations=annotations,
        automountServiceAccountToken=False,
    )
