"""A volume for several writing pods: a folder of the local cluster's one node."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubectl import Kubectl

Object = dict[str, Any]


@contextmanager
def shared_claim(kubectl: Kubectl, image: str, name: str) -> Iterator[None]:
    """Makes an empty ReadWriteMany claim of that name in the namespace, writable for any user.

    A pod of ``image`` makes the folder, in the namespace ``default``, where root is admitted.
    """
    uid = kubectl.get("namespace", kubectl.namespace)["metadata"]["uid"]
    everybody = kubectl.in_namespace("default")
    volume = f"{name}-{uid}"
    everybody.apply(_maker(volume, image))
    everybody("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{volume}",
              "--timeout=120s", timeout=130)  # fmt: skip
    everybody("delete", "pod", volume)
    everybody.apply(_volume(volume))
    kubectl.apply(_claim(name, volume))
    yield
    everybody("delete", "persistentvolume", volume, "--wait=false")


def _folder(volume: str) -> str:
    # The local cluster's node keeps /var/lib in memory, so nothing is left behind.
    return f"/var/lib/diffusion-e2e/{volume}"


def _maker(volume: str, image: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": volume},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 0},
            "containers": [
                {
                    "name": "chmod",
                    "image": image,
                    "command": ["chmod", "0777", "/folder"],
                    "volumeMounts": [{"name": "folder", "mountPath": "/folder"}],
                }
            ],
            "volumes": [
                {
                    "name": "folder",
                    "hostPath": {"path": _folder(volume), "type": "DirectoryOrCreate"},
                }
            ],
        },
    }


def _volume(volume: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": _folder(volume)},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
        },
    }


def _claim(name: str, volume: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
            "volumeName": volume,
        },
    }
