"""Labels of children, and the label selector of a service's or a test's pods."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.kube.kinds import CUSTOM_KINDS
from diffusion_operator.kube.objects import MANAGED_BY


def selector(owner: Mapping[str, Any]) -> dict[str, str]:
    """Label selector of the owner's pods, of the operator's own labels only."""
    return {CUSTOM_KINDS[owner["kind"]].owner_label: owner["metadata"]["name"]}


def labels(owner: Mapping[str, Any]) -> dict[str, str]:
    """Labels of every child."""
    name = owner["metadata"]["name"]
    return {
        "app.kubernetes.io/name": CUSTOM_KINDS[owner["kind"]].app,
        "app.kubernetes.io/instance": name,
        **MANAGED_BY,
        **selector(owner),
    }
