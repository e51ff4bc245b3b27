"""kubeconfig documents; JSON is YAML, so no YAML writer is needed."""

import base64
import json
from pathlib import Path


def document(*, name: str, server: str, pki: Path, user: str) -> str:
    """A kubeconfig of one context called `name`, with the keys of certificate `user` inside."""
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _encoded(pki / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _encoded(pki / f"{user}.crt"),
                    "client-key-data": _encoded(pki / f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(value, indent=2) + "\n"


def write(file: Path, text: str) -> None:
    """Writes the file so that no other user can read it at any moment."""
    file.touch(mode=0o600)
    file.write_text(text)


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
