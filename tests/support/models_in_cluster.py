"""Sources of models as pods of the cluster: a hub and an S3 server with the demo model.

Both run in the image of a backend, which holds that model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kubectl import Kubectl

Object = dict[str, Any]

ENDPOINT = "http://hub:8080"
REPO = "acme/shapes"
TOKEN = "the-right-token"

S3_ENDPOINT = "http://s3:8080"
S3_SOURCE = "s3://weights/models/shapes"
S3_ACCESS_KEY = "AKIARIGHT"

_PORTS = (8080, 8081)
_HUB = f"""
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


_S3 = f"""
from pathlib import Path
from small_s3 import s3_server
folder = Path("/models/demo")
files = {{"models/shapes/" + str(path.relative_to(folder)): path.read_bytes()
         for path in folder.rglob("*") if path.is_file()}}
s3_server("0.0.0.0", {_PORTS[0]}, "weights", files, "{S3_ACCESS_KEY}").serve_forever()
"""


def start_hub(kubectl: Kubectl, image: str) -> None:
    """Starts the hub in the namespace, as ``ENDPOINT``, and waits until it answers."""
    _start(kubectl, _pod("hub", image, _PORTS[-1]), _program("local_hub.py", _HUB), _PORTS)


def start_s3(kubectl: Kubectl, image: str) -> None:
    """Starts the S3 server in the namespace, as ``S3_ENDPOINT``, and waits until it answers."""
    _start(kubectl, _pod("s3", image, _PORTS[0]), _program("small_s3.py", _S3), _PORTS[:1])


def _program(module: str, main: str) -> dict[str, str]:
    """The files of a program: a module of this folder, and a main module that uses it."""
    return {module: (Path(__file__).parent / module).read_text(), "main.py": main}


def _start(kubectl: Kubectl, pod: Object, files: dict[str, str], ports: Sequence[int]) -> None:
    name = pod["metadata"]["name"]
    metadata = {"name": name}
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files})
    kubectl.apply(_service(name, ports))
    kubectl.apply(pod)
    kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s", timeout=130)


def _service(name: str, ports: Sequence[int]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": f"port-{port}", "port": port} for port in ports],
        },
    }


def _pod(name: str, image: str, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "command": ["python", "/program/main.py"],
                    "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "program", "mountPath": "/program"}],
                }
            ],
            "volumes": [{"name": "program", "configMap": {"name": name}}],
            "terminationGracePeriodSeconds": 0,
        },
    }
