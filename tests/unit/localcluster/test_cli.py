import json
import socket
from pathlib import Path

import pytest

from localcluster import cli, control_plane
from localcluster.paths import Cache


def run(tmp_path: Path, *argv: str) -> int:
    return cli.main(argv, {"XDG_CACHE_HOME": str(tmp_path)})


def test_an_error_is_one_sentence_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "load", "--name", "absent", "app:1") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "localcluster: Cluster absent does not run: start it with `up`.\n"


def test_a_missing_cluster_has_the_state_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "status", "--name", "absent", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["state"], status["provider"]) == ("Stopped", "local")
    assert status["auditLog"].endswith("/clusters/absent/logs/audit.log")


def test_no_kubeconfig_is_printed_for_a_missing_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "kubeconfig", "--name", "absent") == 1
    assert "start the cluster with `up`" in capsys.readouterr().err


def test_taking_down_a_missing_cluster_succeeds(tmp_path: Path) -> None:
    assert run(tmp_path, "down", "--name", "absent") == 0
    assert run(tmp_path, "down", "--name", "absent") == 0


def test_restarting_needs_a_cluster(tmp_path: Path) -> None:
    assert run(tmp_path, "restart", "--name", "absent", "etcd") == 1


def test_a_taken_port_is_skipped() -> None:
    first = control_plane.free_port(7)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        assert control_plane.free_port(7) > first


def test_a_cluster_has_the_same_port_each_time(cache: Cache) -> None:
    seed = int(cache.cluster("demo").id, 16)
    assert control_plane.free_port(seed) == control_plane.free_port(seed)


def test_tidying_without_a_build_succeeds(tmp_path: Path) -> None:
    assert run(tmp_path, "tidy") == 0
