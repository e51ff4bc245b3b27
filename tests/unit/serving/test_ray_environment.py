"""The role of a process in a Ray cluster, by its environment."""

import socket
import sys
from dataclasses import astuple
from pathlib import Path

import pytest

from diffusion_serving.backends.rayserve import cluster_topology
from diffusion_serving.backends.rayserve.cluster_topology import ClusterNode, cluster_node_of
from diffusion_serving.backends.rayserve.environment import Ports
from diffusion_serving.backends.rayserve.node import head_part
from diffusion_serving.observability.startup_errors import InvalidConfiguration

WORKER = {"DIFFUSION_RAY_ROLE": "worker", "DIFFUSION_RAY_ADDRESS": "10.0.0.2"}
HEAD = {"DIFFUSION_RAY_ROLE": "head", "DIFFUSION_RAY_ADDRESS": "10.0.0.1"}
PORTS = Ports(*range(1, 9))


def test_no_connection_is_given_a_port_before_ray_binds_it() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(50):
        ports = astuple(Ports.free())
        assert len(set(ports)) == 8
        assert max(ports) < min(first, 30_000)
        assert min(ports) >= 20_000


@pytest.mark.parametrize(
    ("environ", "node"),
    [
        (HEAD, ClusterNode("head", "10.0.0.1", "10.0.0.1", 6379)),
        (
            {**HEAD, "DIFFUSION_RAY_DASHBOARD": "8265"},
            ClusterNode("head", "10.0.0.1", "10.0.0.1", 6379, 8265),
        ),
        (
            {**WORKER, "DIFFUSION_RAY_HEAD": "demo-head.shop.svc:6380"},
            ClusterNode("worker", "10.0.0.2", "demo-head.shop.svc", 6380),
        ),
        (
            {**WORKER, "FQ_RAY_IP": "demo-x-head-svc.shop.svc.cluster.local"},
            ClusterNode("worker", "10.0.0.2", "demo-x-head-svc.shop.svc.cluster.local", 6379),
        ),
    ],
)
def test_a_nodes_role_is_set_by_the_operator_or_by_kuberay(
    environ: dict[str, str], node: ClusterNode
) -> None:
    assert cluster_node_of(environ) == node


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({}, "DIFFUSION_RAY_ROLE"),
        ({"DIFFUSION_RAY_ROLE": "head"}, "DIFFUSION_RAY_ADDRESS"),
        (WORKER, "DIFFUSION_RAY_HEAD"),
        ({**WORKER, "DIFFUSION_RAY_HEAD": "demo-head"}, "DIFFUSION_RAY_HEAD"),
        ({**WORKER, "DIFFUSION_RAY_HEAD": "demo-head:65536"}, "DIFFUSION_RAY_HEAD"),
        ({**HEAD, "DIFFUSION_RAY_DASHBOARD": "high"}, "DIFFUSION_RAY_DASHBOARD"),
        ({**HEAD, "DIFFUSION_RAY_DASHBOARD": "0"}, "DIFFUSION_RAY_DASHBOARD"),
    ],
)
def test_a_variable_that_is_missing_or_unreadable_is_named(
    environ: dict[str, str], variable: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=variable):
        cluster_node_of(environ)


def test_a_head_has_no_dashboard_unless_its_port_is_given() -> None:
    assert "--include-dashboard=false" in head_part(PORTS)
    with_dashboard = head_part(PORTS, dashboard=8265)
    assert {"--include-dashboard=true", "--dashboard-port=8265"} <= set(with_dashboard)


def test_a_worker_that_leaves_does_not_wait_for_a_silent_head(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(silent))
    monkeypatch.setattr(cluster_topology, "_DRAIN_COMMAND_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as head:
        node = ClusterNode("worker", "127.0.0.1", "127.0.0.1", head.getsockname()[1])
        assert not cluster_topology._leave(node, "0a")
