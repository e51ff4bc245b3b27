"""Name of a replica, in the header of each response."""

import socket
from typing import Any

import pytest

from diffusion_serving.http.replica import replica_name


def test_name_is_the_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "demo-7d9c5f6b8c-x2x4z")
    assert replica_name() == "demo-7d9c5f6b8c-x2x4z"


def test_cut_names_of_two_pods_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [f"{'x' * 52}-7d9c5f6b8c-{end}" for end in ("x2x4z", "k8v7q")]
    addresses = iter(("10.0.0.7", "10.0.0.8"))
    names = []
    for pod in pods:
        host = pod[:63]
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        resolved = [(0, 0, 0, "", (next(addresses), 0))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, resolved=resolved: resolved)
        names.append(replica_name())
    assert len(set(names)) == 2


async def test_server_outside_a_service_names_no_replica(make_stack: Any) -> None:
    answer = await make_stack().client.get("/about")
    assert "diffusion-replica" not in answer.headers
