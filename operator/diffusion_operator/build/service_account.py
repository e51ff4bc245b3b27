"""ServiceAccount: an identity of its own for each resource's pods, without a mounted token."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.build.metadata import child
from diffusion_operator.objects import Object


def service_account(
    owner: Mapping[str, Any], name: str, annotations: Mapping[str, str] | None = None
) -> Object:
    """The ServiceAccount; annotations are how clouds grant it access."""
    return child(
        owner,
        "v1",
        "ServiceAccount",
        name,
        annotations=annotations,
        automountServiceAccountToken=False,
    )
