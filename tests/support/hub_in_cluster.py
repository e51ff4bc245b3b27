"""The local hub as a pod and a Service, in the image of a backend, which holds the demo model."""

from pathlib import Path
from typing import Any

from kubectl import Kubectl

Object = dict[str, Any]

ENDPOINT = "http://hub:8080"
REPO = "acme/shapes"
TOKEN = "the-right-token"

_LABELS = {"app": "hub"}
_PORTS = (8080, 8081)
_PROGRAM = f"""
import threading
from pathlib import Path
from local_hub import LocalHub, Repo
folder = Path("/models/demo")
files = {{str(path.relative_to(folder)): path.read_bytes()
         for path in folder.rglob("*") if path.is_file()}}
repos = {{"{REPO}": Repo({{"main": files}}, token="{TOKEN}")}}
with LocalHub(repos, host="0.0.0.0", ports={_PORTS}) as hub:
    hub.store = "http://hub:{_PORTS[1]}"
    threading.Event().wait()
"""


def start_hub(kubectl: Kubectl, image: str) -> None:
    """Start it in the namespace, as ``ENDPOINT``, and wait until it answers."""
    source = (Path(__file__).parent / "local_hub.py").read_text()
    for manifest in (_config_map(source), _service(), _pod(image)):
        kubectl.apply(manifest)
    kubectl("wait", "--for=condition=Ready", "pod/hub", "--timeout=120s", timeout=130)


def _config_map(source: str) -> Object:
    data = {"local_hub.py": source, "main.py": _PROGRAM}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hub"}, "data": data}


def _service() -> Object:
    ports = [{"name": f"port-{port}", "port": port} for port in _PORTS]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hub"},
        "spec": {"selector": _LABELS, "ports": ports},
    }


def _pod(image: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "hub", "labels": _LABELS},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "hub",
                    "image": image,
                    "command": ["python", "/hub/main.py"],
                    "readinessProbe": {"tcpSocket": {"port": _PORTS[1]}, "periodSeconds": 1},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "hub", "mountPath": "/hub"}],
                }
            ],
            "volumes": [{"name": "hub", "configMap": {"name": "hub"}}],
            "terminationGracePeriodSeconds": 0,
        },
    }
