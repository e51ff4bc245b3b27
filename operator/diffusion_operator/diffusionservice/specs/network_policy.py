"""NetworkPolicy: the peers that may reach a service's pods."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.diffusionservice.specs.server_container import PORT
from diffusion_operator.kube.label_selector import labels
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import TEST_LABEL, Object
from diffusion_operator.settings import NetworkPolicySettings

_ONE_SERVICE = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
_RUNNERS = {"podSelector": {"matchExpressions": [{"key": TEST_LABEL, "operator": "Exists"}]}}


def network_policy(
    owner: Mapping[str, Any], settings: NetworkPolicySettings, more: Sequence[Object] = ()
) -> Object:
    """NetworkPolicy that admits peers and load tests to the server, and the service's own pods to
    all.

    The head of a Ray cluster talks to its workers on further ports. ``more`` adds rules.
    """
    own = {name: value for name, value in labels(owner).items() if name in _ONE_SERVICE}
    serves = {"port": PORT, "protocol": "TCP"}
    peers = [_RUNNERS, *(dict(peer) for peer in settings.admit)]
    return child(
        owner,
        "NetworkPolicy",
        owner["metadata"]["name"],
        spec={
            "podSelector": {"matchLabels": own},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": peers, "ports": [serves]},
                {"from": [{"podSelector": {"matchLabels": own}}]},
                *more,
            ],
        },
    )
