"""Terraform's login to the cluster works with the document that Google's plugin prints."""

import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster import pki
from terraform_offline.paths import ROOT, TERRAFORM

# gke-gcloud-auth-plugin has this version in its source and takes none from its caller
# (github.com/kubernetes/cloud-provider-gcp, cmd/gke-gcloud-auth-plugin/cred.go, 2026-08-19).
DOCUMENT = {
    "kind": "ExecCredential",
    "apiVersion": "client.authentication.k8s.io/v1beta1",
    "spec": {"interactive": False},
    "status": {"expirationTimestamp": "2099-01-01T00:00:00Z", "token": "from-google"},
}


class _ApiServer(BaseHTTPRequestHandler):
    """An API server that answers the holder of the plugin's token."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Bearer from-google"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Keeps the test's output free of requests."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address, with TLS: client-go tells nobody else who it is."""
    keys = tmp_path_factory.mktemp("server") / "pki"
    pki.write(keys, (pki.Certificate("apiserver", "kube-apiserver", addresses=("127.0.0.1",)),))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ApiServer)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(keys / "apiserver.crt", keys / "apiserver.key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def kubectl() -> str:
    command = [sys.executable, "-m", "localcluster", "tool", "kubectl"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def login(
    kubectl: str, address: str, folder: Path, version: str
) -> subprocess.CompletedProcess[str]:
    """A request by client-go, the library of kubectl and of Terraform's Helm provider."""
    plugin = folder / "gke-gcloud-auth-plugin"
    plugin.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(DOCUMENT)}\nEND\n")
    plugin.chmod(0o755)
    caller = {"apiVersion": version, "command": str(plugin), "interactiveMode": "Never"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gke",
        "clusters": [
            {"name": "gke", "cluster": {"server": address, "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "gke", "user": {"exec": caller}}],
        "contexts": [{"name": "gke", "context": {"cluster": "gke", "user": "gke"}}],
    }
    config = folder / "kubeconfig"
    config.write_text(yaml.safe_dump(document))
    command = [kubectl, f"--kubeconfig={config}", "get", "--raw", "/version"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("environment", ["prod", "test"])
def test_the_provider_asks_for_the_version_that_the_plugin_answers(
    kubectl: str, address: str, tmp_path: Path, environment: str
) -> None:
    text = (TERRAFORM / "environments" / environment / "main.tf").read_text()
    caller = re.search(r"^    exec = \{\n(.*?)^    \}", text, re.MULTILINE | re.DOTALL)
    assert caller is not None
    arguments = dict(re.findall(r'(\w+) += "(.*?)"', caller[1]))
    assert arguments["command"] == "gke-gcloud-auth-plugin"
    done = login(kubectl, address, tmp_path, arguments["api_version"])
    assert done.returncode == 0, done.stderr


def test_another_version_is_refused_as_in_a_first_apply(
    kubectl: str, address: str, tmp_path: Path
) -> None:
    done = login(kubectl, address, tmp_path, "client.authentication.k8s.io/v1")
    assert done.returncode != 0
    assert "plugin returned version client.authentication.k8s.io/v1beta1" in done.stderr
