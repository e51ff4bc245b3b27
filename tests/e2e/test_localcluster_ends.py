"""Ends of local clusters: removed, and killed at bad moments; nothing is left."""

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_clusters import NOTHING, READY_WITHIN, Cluster, cluster, in_time, needs_node, until
from localcluster import cgroups, network, node, processes

pytestmark = pytest.mark.usefixtures("programs_built")


class TestControlPlaneEnds:
    @pytest.fixture
    def made(self) -> Iterator[Cluster]:
        with cluster("test-ends", "--control-plane-only") as made:
            yield made

    def test_it_is_ready_in_time_and_leaves_nothing(self, made: Cluster) -> None:
        taken = []
        for _ in range(3):  # the machine may be busy for one try
            begin = time.monotonic()
            made.up()
            taken.append(time.monotonic() - begin)
            assert made.status()["state"] == "Running"
            made.down()
            assert made.leftovers() == NOTHING
            if taken[-1] < READY_WITHIN:
                break
        in_time(taken, READY_WITHIN)

    def test_several_run_at_the_same_time(self, made: Cluster) -> None:
        with cluster("test-ends-2", "--control-plane-only") as other:
            starting = [made.start_up(), other.start_up()]
            assert [process.wait(120) for process in starting] == [0, 0]
            made.kubectl("create", "configmap", "only-here")
            assert "only-here" not in other.kubectl("get", "configmaps", "--output=name")
            other.down()
            assert other.leftovers() == NOTHING
            assert made.status()["state"] == "Running"

    def test_nothing_outlives_a_killed_supervisor(self, made: Cluster) -> None:
        made.up()
        (supervisor,) = [
            pid
            for pid in processes.marked(made.paths.root)
            if "localcluster.supervisor" in processes.arguments(pid)
        ]
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: processes.marked(made.paths.root) == [], "every process to end")
        made.up()
        assert made.status()["state"] == "Running"

    def test_up_killed_half_way_is_recovered_from(self, made: Cluster) -> None:
        for pause in (0.1, 0.5, 2.0):
            process = made.start_up()
            time.sleep(pause)  # a kill at an arbitrary moment is the subject
            process.kill()
            process.wait()
        made.up()
        assert made.status()["state"] == "Running"
        made.down()
        assert made.leftovers() == NOTHING


@needs_node
class TestNodeEnds:
    """Kills of any process at any moment: nothing is left, and the next `up` works."""

    @pytest.fixture
    def made(self) -> Iterator[Cluster]:
        with cluster("test-node-ends") as made:
            yield made

    def test_down_leaves_nothing(self, made: Cluster) -> None:
        made.up()
        assert made.leftovers()["cgroups"]
        made.down()
        assert made.leftovers() == NOTHING

    def test_killing_one_process_ends_every_other(self, made: Cluster) -> None:
        made.up()
        (creator,) = [
            pid
            for pid in processes.marked(made.paths.root)
            if processes.arguments(pid)[:1] == ["unshare"]
        ]
        inhabitants = {
            int(pid)
            for folder in cgroups.find(f"localcluster-{made.paths.id}")
            for path, _, _ in os.walk(folder)
            for pid in (Path(path) / "cgroup.procs").read_text().split()
        }
        assert len(inhabitants) > len(
            processes.marked(made.paths.root)
        )  # the pods' processes are included
        os.kill(creator, signal.SIGKILL)
        until(
            lambda: not any(processes.arguments(pid) for pid in inhabitants), "every process to end"
        )
        until(
            lambda: network.link_name(made.paths.id) not in dict(socket.if_nameindex()).values(),
            "the interface to go",
        )
        assert made.leftovers()["mounts"] == []
        made.up()
        assert made.status()["state"] == "Running"
        made.down()
        assert made.leftovers() == NOTHING

    def test_up_killed_at_any_moment_leaves_nothing_that_down_does_not_remove(
        self, made: Cluster
    ) -> None:
        moments = random.Random(3)
        for _ in range(6):
            process = made.start_up()
            time.sleep(moments.uniform(0.1, 6.0))  # a kill at any moment is the subject
            process.kill()
            process.wait()
            made.down()
            assert made.leftovers() == NOTHING

    def test_up_recovers_from_an_up_that_was_killed(self, made: Cluster) -> None:
        process = made.start_up()
        until(lambda: node.first_process(made.paths) is not None, "the node's first process")
        process.kill()
        process.wait()
        made.up()
        assert made.status()["state"] == "Running"
