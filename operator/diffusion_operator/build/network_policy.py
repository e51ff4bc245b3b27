"""NetworkPolicy: who may reach the pods of a service."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.build.metadata import child, labels
from diffusion_operator.build.server import PORT
from diffusion_operator.objects import TEST_LABEL, Object
from diffusion_operator.settings import NetworkPolicySettings

_ONE_SERVICE = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
_RUNNERS = {"podSelector": {"matchExpressions": [{"key": TEST_LABEL, "operator": "Exists"}]}}


def network_policy(
    owner: Mapping[str, Any], settings: NetworkPolicySettings, more: Sequence[Object] = ()
) -> Object:
    """Admits the settings' peers and load tests to the server, and the service's pods to all.

    The head of a Ray cluster is one of these pods, and talks to the workers on ports of its own.
    ``more`` are further rules.
    """
    own = {name: value for name, value in labels(owner).items() if name in _ONE_SERVICE}
    serves = {"port": PORT, "protocol": "TCP"}
    peers = [_RUNNERS, *(dict(peer) for peer in settings.admit)]
    return child(
        owner,
        "networking.k8s.io/v1",
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
