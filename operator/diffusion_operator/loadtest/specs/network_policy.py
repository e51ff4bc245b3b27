"""NetworkPolicy of a load test: its workers may reach its runner."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.kube.label_selector import selector
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object
from diffusion_operator.loadtest.specs.job import MASTER_PORT, master_name


def network_policy(owner: Mapping[str, Any]) -> Object:
    """NetworkPolicy that admits the test's own pods, where a namespace denies everything else."""
    own = {"podSelector": {"matchLabels": selector(owner)}}
    return child(
        owner,
        "NetworkPolicy",
        master_name(owner),
        spec={
            "podSelector": {"matchLabels": selector(owner)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [own], "ports": [{"port": MASTER_PORT, "protocol": "TCP"}]}],
        },
    )
