import base64
import json
import subprocess
from pathlib import Path

import pytest

from localcluster import kubeconfig, pki


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "pki"
    pki.write(folder, (*pki.control_plane(("127.0.0.1", "localhost")), *pki.node("n", "10.0.0.9")))
    return folder


def text(folder: Path, name: str) -> str:
    show = ["openssl", "x509", "-in", f"{name}.crt", "-noout", "-text"]
    return subprocess.run(show, cwd=folder, capture_output=True, text=True, check=True).stdout


def verify(folder: Path, authority: str, name: str, purpose: str) -> bool:
    check = ["openssl", "verify", "-x509_strict", "-purpose", purpose]
    check += ["-CAfile", f"{authority}.crt", f"{name}.crt"]
    return subprocess.run(check, cwd=folder, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["apiserver", "kubelet"])
def test_a_server_certificate_serves(keys: Path, name: str) -> None:
    assert verify(keys, "ca", name, "sslserver")
    assert not verify(keys, "ca", name, "sslclient")


@pytest.mark.parametrize("name", ["admin", "scheduler", "controller-manager", "kubelet-client"])
def test_a_client_certificate_is_for_clients(keys: Path, name: str) -> None:
    assert verify(keys, "ca", name, "sslclient")
    assert not verify(keys, "ca", name, "sslserver")


def test_aggregated_servers_trust_another_authority(keys: Path) -> None:
    assert verify(keys, "front-proxy-ca", "front-proxy-client", "sslclient")
    assert not verify(keys, "ca", "front-proxy-client", "sslclient")


def test_certificates_name_their_owner(keys: Path) -> None:
    assert "IP Address:127.0.0.1, DNS:localhost" in text(keys, "apiserver")
    assert "O = system:masters" in text(keys, "admin").replace("O=", "O = ")
    assert "system:node:n" in text(keys, "kubelet-client")


def test_keys_are_for_their_owner_only(keys: Path) -> None:
    assert keys.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in keys.glob("*.key"))


def test_a_kubeconfig_has_one_context_that_is_current(keys: Path, tmp_path: Path) -> None:
    document = kubeconfig.document(name="c", server="https://h:1", pki=keys, user="admin")
    value = json.loads(document)
    assert value["current-context"] == value["contexts"][0]["name"] == "c"
    assert value["clusters"][0]["cluster"]["server"] == "https://h:1"
    encoded = value["users"][0]["user"]["client-key-data"]
    assert base64.b64decode(encoded) == (keys / "admin.key").read_bytes()
    file = tmp_path / "kubeconfig"
    kubeconfig.write(file, document)
    assert file.stat().st_mode & 0o777 == 0o600
