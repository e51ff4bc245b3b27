import json
from pathlib import PurePosixPath

import pytest

from localcluster import components
from localcluster.components import Endpoint, Layout

LAYOUT = Layout(PurePosixPath("/c"), PurePosixPath("/p"))
LOOPBACK = Endpoint(bind="127.0.0.1", port=1234, advertise="127.0.0.1")


def test_components_are_unchanged_by_writing_and_reading_their_file() -> None:
    listed = components.control_plane(LAYOUT, LOOPBACK, kubelet=True)
    assert components.from_json(components.to_json(listed)) == listed


def test_etcd_opens_no_port() -> None:
    urls = [argument for argument in components.etcd(LAYOUT).argv if "urls=" in argument]
    assert len(urls) == 4
    assert all("=unix://" in url for url in urls)


def test_a_control_plane_alone_listens_on_loopback_only() -> None:
    argv = components.api_server(LAYOUT, LOOPBACK, kubelet=False).argv
    assert "--bind-address=127.0.0.1" in argv
    assert "--secure-port=1234" in argv
    assert not any("kubelet" in argument for argument in argv)


def test_the_api_server_calls_the_kubelet_by_address_and_checks_its_certificate() -> None:
    argv = components.api_server(LAYOUT, LOOPBACK, kubelet=True).argv
    assert "--kubelet-preferred-address-types=InternalIP" in argv
    assert "--kubelet-certificate-authority=/c/pki/ca.crt" in argv


def test_the_audit_log_has_every_request_once_without_its_contents() -> None:
    policy = components.audit_policy()
    assert policy["rules"] == [{"level": "Metadata"}]
    assert policy["omitStages"] == ["RequestReceived"]


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
def test_clients_of_the_api_server_wait_for_it_on_loopback(bind: str) -> None:
    endpoint = Endpoint(bind=bind, port=1234, advertise="198.18.0.2")
    listed = components.control_plane(LAYOUT, endpoint, kubelet=True)
    after = {component.name: component.after for component in listed}
    assert after["kube-apiserver"] == "unix:etcd:0"
    assert after["kube-controller-manager"] == after["kube-scheduler"] == "tcp:127.0.0.1:1234"


def test_the_kubelet_runs_on_either_cgroup_version_and_keeps_images() -> None:
    config = components.kubelet_config(LAYOUT)
    assert config["failCgroupV1"] is False
    assert config["cgroupDriver"] == "cgroupfs"
    assert config["imageGCHighThresholdPercent"] == 100
    assert set(config["evictionHard"].values()) == {"0%"}
    assert config["authentication"]["anonymous"] == {"enabled": False}


def test_containerd_pulls_by_the_prefix_from_the_registry_beside_it() -> None:
    text = components.containerd_config(
        LAYOUT, images=PurePosixPath("/i"), pause="pause:1", plugins="/cni"
    )
    for line in (
        'root = "/i"',
        'sandbox_image = "pause:1"',
        "restrict_oom_score_adj = true",
        "SystemdCgroup = false",
        'config_path = "/c/config/registries"',
    ):
        assert line in text
    assert "http://127.0.0.1:5000" in components.registry_hosts()


def test_configurations_are_json() -> None:
    for value in (
        components.kubelet_config(LAYOUT),
        components.proxy_config(LAYOUT, "demo"),
        components.registry_config(PurePosixPath("/r")),
        components.network_config(PurePosixPath("/n")),
    ):
        assert json.loads(json.dumps(value)) == value
