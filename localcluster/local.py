"""Clusters that consist of processes on this machine."""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from localcluster import control_plane, loading, machine, node, processes, programs, shell
from localcluster.api import ApiClient, condition
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import ClusterPaths
from localcluster.record import Mode, Record, locked

_START_TIMEOUT = 180.0
_HOPELESS_STARTS = 5


class LocalCluster:
    """A cluster by its name; every method may be called in any state of the cluster."""

    def __init__(self, paths: ClusterPaths, progress: Progress) -> None:
        machine.use_system_path()
        self._paths = paths
        self._progress = progress

    def up(self, *, control_plane_only: bool) -> None:
        """Starts the cluster, whatever its state was; raises LocalClusterError."""
        mode: Mode = "control-plane" if control_plane_only else "node"
        with locked(self._paths, self._progress):
            record = self._running()
            if record is None:
                self._remove()
                record = self._create(mode)
                self._wait(record)
                replace(record, ready=True).save(self._paths)
            elif record.mode == mode:
                self._wait(record)
            else:
                raise LocalClusterError(
                    f"Cluster {self._paths.name} runs as a {record.mode}: take it down first, or "
                    "give this one another --name."
                )
        self._progress.say(f"cluster {self._paths.name} is ready")

    def down(self, *, purge: bool) -> None:
        """Removes the cluster except programs, and except images unless `purge`.

        The registry's images are deleted with the images of the last cluster that has any.

        Raises:
            LocalClusterError: A part of the cluster can't be removed.
        """
        with locked(self._paths, self._progress):
            existed = self._paths.root.exists()
            self._remove()
            if purge:
                self._purge()
        state = "is removed" if existed else "did not exist"
        self._progress.say(f"cluster {self._paths.name} {state}")

    def load(self, images: Sequence[str]) -> list[str]:
        record = self._require_running()
        if record.mode != "node":
            raise LocalClusterError(
                f"Cluster {self._paths.name} is a control plane alone, which runs no image."
            )
        if not self._is_current(record):
            raise LocalClusterError(
                f"Cluster {self._paths.name} was created by an older build, which loads images in "
                "another way: use `down` and `up`."
            )
        names = []
        for image in images:
            names += loading.load(self._paths, record, image, self._progress)
        return names

    def restart(self, component: str) -> None:
        """Kills one component, which then starts again; raises LocalClusterError."""
        record = self._require_running()
        pids = [
            pid
            for pid in processes.marked(self._paths.root)
            if Path(next(iter(processes.arguments(pid)), "")).name == component
        ]
        if component not in self._supervised() or not pids:
            running = ", ".join(self._supervised())
            raise LocalClusterError(f"{component!r} does not run; running components: {running}.")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._wait(record)

    def kubeconfig(self) -> Path:
        return self._paths.kubeconfig

    def status(self) -> dict[str, Any]:
        record = Record.load(self._paths)
        running = record is not None and bool(processes.marked(self._paths.root))
        status: dict[str, Any] = {
            "name": self._paths.name,
            "provider": "local",
            "state": "Stopped",
            "kubeconfig": str(self._paths.kubeconfig),
            "auditLog": str(self._paths.audit_log),
            "logs": str(self._paths.logs),
        }
        if record is not None and running:
            api = ApiClient(record.server, self._paths.pki)
            has_node = record.mode == "node"
            status |= {
                "state": "Running" if record.ready and api.ready() else "Starting",
                "mode": record.mode,
                "server": record.server,
                "kubernetes": record.kubernetes,
                "registry": loading.push_address(record) if has_node else None,
                "imagePrefix": loading.PREFIX if has_node else None,
                "components": self._supervised(),
            }
        return status

    def _purge(self) -> None:
        shutil.rmtree(self._paths.images, ignore_errors=True)
        if not any(self._paths.cache.images.glob("*")):
            shutil.rmtree(self._paths.cache.registry, ignore_errors=True)

    def _running(self) -> Record | None:
        """The running cluster's record; None if its creation was interrupted, too.

        To create a cluster again takes only seconds.
        """
        record = Record.load(self._paths)
        if record is None or not record.ready or not processes.marked(self._paths.root):
            return None
        if not self._is_current(record):
            self._progress.say("the cluster runs an older build: `down` and `up` renew it")
        return record

    def _is_current(self, record: Record) -> bool:
        return programs.NODE.content_hash in record.programs

    def _require_running(self) -> Record:
        record = self._running()
        if record is None:
            raise LocalClusterError(f"Cluster {self._paths.name} does not run: start it with `up`.")
        return record

    def _create(self, mode: Mode) -> Record:
        if mode == "node":
            return node.create(self._paths, self._progress)
        machine.require_control_plane(self._progress)
        return control_plane.create(self._paths, self._progress)

    def _remove(self) -> None:
        processes.end(self._paths.root)
        node.remove_remains(self._paths)
        if self._paths.root.exists():
            shutil.rmtree(self._paths.root)

    def _wait(self, record: Record) -> None:
        api = ApiClient(record.server, self._paths.pki)
        self._progress.wait(lambda: self._missing(api), timeout=_START_TIMEOUT)
        if record.mode == "node":
            if not record.ready:
                node.add_dns(self._paths, record)
            self._progress.wait(lambda: self._node_missing(api), timeout=_START_TIMEOUT)

    def _missing(self, api: ApiClient) -> str | None:
        self._raise_if_hopeless()
        if not api.ready():
            return "the API server"
        if api.get("/api/v1/namespaces/default/serviceaccounts/default") is None:
            return "the controller manager"
        return None

    def _node_missing(self, api: ApiClient) -> str | None:
        self._raise_if_hopeless()
        if condition(api.object(f"/api/v1/nodes/{self._paths.name}"), "Ready") != "True":
            return "the node"
        dns = api.object("/apis/apps/v1/namespaces/kube-system/deployments/coredns")
        return None if condition(dns, "Available") == "True" else "cluster DNS"

    def _raise_if_hopeless(self) -> None:
        if not processes.marked(self._paths.root):
            log = (self._paths.logs / "supervisor.log").read_text()
            raise LocalClusterError(f"The cluster has exited: {shell.last_lines(log)}")
        for name, state in self._supervised().items():
            if state["starts"] >= _HOPELESS_STARTS and not state["running"]:
                log = (self._paths.logs / f"{name}.log").read_text(errors="replace")
                raise LocalClusterError(
                    f"{name} exited {state['starts']} times, with code {state['lastExit']}; "
                    f"{self._paths.logs / name}.log ends with:\n{shell.last_lines(log)}"
                )

    def _supervised(self) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads((self._paths.root / "supervisor.json").read_text())
        except FileNotFoundError:
            return {}
        return value
