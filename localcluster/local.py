"""Clusters made of processes on this machine."""

import json
import shutil
from dataclasses import replace
from typing import Any

from localcluster import control_plane, machine, node, processes, shell
from localcluster.api import ApiClient, condition
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import ClusterPaths
from localcluster.record import Mode, Record, locked

_START_TIMEOUT = 180.0
_HOPELESS_STARTS = 5


class LocalCluster:
    """A cluster by its name; every method may be called in any state of it."""

    def __init__(self, paths: ClusterPaths, progress: Progress) -> None:
        self._paths = paths
        self._progress = progress

    def up(self, mode: Mode) -> None:
        """Make it run, whatever was there before. Raises LocalClusterError."""
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
                    f"Cluster {self._paths.name} runs in mode {record.mode}: take it down first, "
                    "or give this one another --name."
                )
        self._progress.say(f"cluster {self._paths.name} is ready")

    def down(self) -> None:
        """Leave nothing of it but the programs and images it used. Raises LocalClusterError."""
        with locked(self._paths, self._progress):
            found = self._paths.root.exists()
            self._remove()
        self._paths.lock.unlink(missing_ok=True)
        state = "is gone" if found else "was not there"
        self._progress.say(f"cluster {self._paths.name} {state}")

    def _running(self) -> Record | None:
        """None also for one whose making was interrupted: making it anew takes seconds."""
        record = Record.load(self._paths)
        if record is None or not record.ready or not processes.marked(self._paths.root):
            return None
        return record

    def _create(self, mode: Mode) -> Record:
        machine.use_system_path()
        if mode == "node":
            return node.create(self._paths, self._progress)
        machine.require_control_plane(self._progress)
        return control_plane.create(self._paths, self._progress)

    def _remove(self) -> None:
        processes.end(self._paths.root)
        node.remove_remains(self._paths)
        shutil.rmtree(self._paths.root, ignore_errors=True)

    def _wait(self, record: Record) -> None:
        api = ApiClient(record.server, self._paths.pki)
        self._progress.wait(lambda: self._missing(api), timeout=_START_TIMEOUT)
        if record.mode == "node":
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
        for name, state in self._supervised().items():
            if state["starts"] >= _HOPELESS_STARTS and not state["running"]:
                log = self._paths.logs / f"{name}.log"
                raise LocalClusterError(
                    f"{name} ended {state['starts']} times, with code {state['lastExit']}; "
                    f"{log} ends with:\n{shell.last_lines(log.read_text(errors='replace'))}"
                )

    def _supervised(self) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads((self._paths.root / "supervisor.json").read_text())
        except FileNotFoundError:
            return {}
        return value
