"""Add-ons that run in the cluster itself: cluster DNS."""

from typing import Any

from localcluster.components import CLUSTER_DOMAIN, DNS_IP

_NAME = "coredns"
_LABELS = {"k8s-app": "kube-dns"}
# A port above 1023 needs neither root nor a capability.
_PORT = 5353

_COREFILE = f"""\
.:{_PORT} {{
    errors
    health :8080
    ready :8181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""


def dns(image: str) -> dict[str, Any]:
    """The list of objects of cluster DNS, with the usual names, from `image`."""
    items = [
        _object("v1", "ServiceAccount"),
        {
            **_object("rbac.authorization.k8s.io/v1", "ClusterRole", namespaced=False),
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        },
        {
            **_object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", namespaced=False),
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": f"system:{_NAME}",
            },
            "subjects": [{"kind": "ServiceAccount", "name": _NAME, "namespace": "kube-system"}],
        },
        {**_object("v1", "ConfigMap"), "data": {"Corefile": _COREFILE}},
        {**_object("apps/v1", "Deployment"), "spec": _deployment(image)},
        {**_object("v1", "Service", name="kube-dns"), "spec": _service()},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _object(
    api_version: str, kind: str, *, name: str = _NAME, namespaced: bool = True
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": _LABELS}
    if namespaced:
        metadata["namespace"] = "kube-system"
    else:
        metadata["name"] = f"system:{name}"
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _deployment(image: str) -> dict[str, Any]:
    return {
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {"labels": _LABELS},
            "spec": {
                "serviceAccountName": _NAME,
                "priorityClassName": "system-cluster-critical",
                "dnsPolicy": "Default",
                "securityContext": {
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": _NAME,
                        "image": image,
                        "imagePullPolicy": "Never",
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "ports": [
                            {"name": "dns", "containerPort": _PORT, "protocol": "UDP"},
                            {"name": "dns-tcp", "containerPort": _PORT, "protocol": "TCP"},
                        ],
                        "readinessProbe": {
                            "httpGet": {"path": "/ready", "port": 8181},
                            "periodSeconds": 1,
                        },
                        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}},
                        "resources": {"requests": {"cpu": "20m", "memory": "40Mi"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
                    }
                ],
                "volumes": [{"name": "config", "configMap": {"name": _NAME}}],
            },
        },
    }


def _service() -> dict[str, Any]:
    return {
        "clusterIP": DNS_IP,
        "selector": _LABELS,
        "ports": [
            {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "targetPort": "dns-tcp", "protocol": "TCP"},
        ],
    }
