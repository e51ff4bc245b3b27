"""Modules that an event of each kind passes on its way to the status: few enough to follow.

A module is on the way if one of its functions runs in an ordinary life of the resource, from kopf's
handler (in the controller) to the write of the status. A library is left out: it returns to its
caller, so that a reader takes its functions at their names. Libraries are the models in ``api`` and
``documents``, the builders in ``specs``, ``analysis``, and ``kube`` but for work queue, admission
and applier. No library waits or calls a module on the way; otherwise the tests fail.
"""

import asyncio
import inspect
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from diffusion_operator.kube import applier
from diffusion_operator.kube.objects import Key, key_of
from diffusion_operator.manager import controller
from diffusion_operator.settings import Settings
from played_runner import progress, report
from played_study import comparison
from watched_cluster import WatchedCluster

Object = dict[str, Any]
PACKAGE = "diffusion_operator."
ON_THE_WAY = {"kube.admission", "kube.applier", "kube.workqueue"}
LEFT_OUT = {"analysis", "api", "documents", "kube", "settings", "specs"}
ALWAYS = {"manager.controller", "kube.workqueue", "kube.applier"}


def is_library(module: str) -> bool:
    """Whether a module is left out."""
    return module not in ON_THE_WAY and bool(LEFT_OUT & set(module.split(".")))


class Way:
    """A controller with its cluster, and the modules that its events pass."""

    def __init__(self, settings: Settings) -> None:
        self.cluster = WatchedCluster()
        self.controller = controller.Controller(self.cluster, self.cluster.cache, settings)  # type: ignore[arg-type] # a stand-in by shape
        self.modules: set[str] = set()
        self.detours: set[tuple[str, str]] = set()
        """Calls by which a library waits or leads back to the way."""

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Records the modules whose functions run."""
        before = sys.getprofile()
        sys.setprofile(self._record)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _record(self, frame: FrameType, event: str, _: object) -> None:
        module, code = module_of(frame), frame.f_code
        # A dataclass's generated __init__ is no step of the way.
        if event != "call" or not module or code.co_filename == "<string>":
            return
        caller = module_of(frame.f_back)
        if is_library(module):
            if code.co_flags & inspect.CO_COROUTINE:
                self.detours.add((module, code.co_name))
            return
        self.modules.add(module)
        if is_library(caller):
            self.detours.add((caller, f"{module}.{code.co_name}"))

    async def leads_to(self, owner: Object, word: str, **changes: Any) -> Object:
        """Status of the object once an event of it has led to that word.

        The event is a change of these fields.
        """
        stored = self.cluster.objects.get(key_of(owner), owner)
        obj = self.cluster.put({**stored, **changes})
        self.controller.on_event(obj["kind"], obj, deleted=False)
        while word not in words_of(self.cluster.objects[key_of(owner)]):
            self.cluster.status_written.clear()
            await asyncio.wait_for(self.cluster.status_written.wait(), 5)
        status: Object = self.cluster.objects[key_of(owner)]["status"]
        return status

    async def serve(self, service: Object) -> None:
        """Makes the service and its pods Ready."""
        await self.leads_to(service, "RollingOut")
        self.cluster.serve(service["metadata"]["name"])
        await self.leads_to(service, "Serving")


def module_of(frame: FrameType | None) -> str:
    """Module of the operator that the frame belongs to, or ``""``."""
    name: str = frame.f_globals.get("__name__", "") if frame is not None else ""
    return name.removeprefix(PACKAGE) if name.startswith(PACKAGE) else ""


def words_of(owner: Object) -> list[str]:
    """State, reason of the first condition, and states of the runs."""
    status = owner.get("status") or {}
    reasons = [each["reason"] for each in status.get("conditions") or ()][:1]
    return [status.get("state", ""), *reasons, *(run["state"] for run in status.get("runs") or ())]


@pytest.fixture
async def way(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Way]:
    monkeypatch.setattr(applier, "HOLD_BACK_SECONDS", 0)
    monkeypatch.setattr(applier, "FIRST_HOLD_BACK_SECONDS", 0)
    monkeypatch.setattr(controller, "SETTLE_SECONDS", 0)
    way = Way(settings)
    way.controller.start()
    yield way
    await way.controller.finish()
    assert not way.detours


async def test_a_services_event_passes_at_most_twelve_modules(way: Way, service: Object) -> None:
    with way.followed():
        await way.serve(service)
        await way.leads_to(service, "RollingOut", spec={**service["spec"], "compile": "full"})
    assert way.modules == ALWAYS | {
        "diffusionservice.reconciler",
        "diffusionservice.children",
        "diffusionservice.rollout.plan",
        "diffusionservice.rollout.upgrade",
        "diffusionservice.rollout.rollback",
        "diffusionservice.rollout.surge",
        "diffusionservice.pod_counts",
        "diffusionservice.status",
    }


async def test_a_load_tests_event_passes_at_most_eight_modules(
    way: Way, service: Object, loadtest: Object
) -> None:
    await way.serve(service)
    written = Key("ConfigMap", "shop", "ramp-loadtest")
    with way.followed():
        run = (await way.leads_to(loadtest, "Starting"))["run"]
        for key, document, state in (
            ("progress.json", progress(run, 1), "Running"),
            ("report.json", report(run), "Complete"),
        ):
            config_map = way.cluster.objects[written]
            way.cluster.put({**config_map, "data": {key: json.dumps(document)}})
            await way.leads_to(loadtest, state)
    assert way.modules == ALWAYS | {
        "loadtest.reconciler",
        "loadtest.observation",
        "kube.admission",
        "loadtest.admission",
        "loadtest.status",
    }


async def test_a_comparisons_event_passes_at_most_eight_modules(way: Way) -> None:
    study = comparison()
    study["metadata"] |= {"namespace": "shop"}
    with way.followed():
        await way.leads_to(study, "Running")
    (service,) = (
        each for key, each in way.cluster.objects.items() if key.kind == "DiffusionService"
    )
    await way.serve(service)
    with way.followed():
        await way.leads_to(study, "Testing")
    assert way.modules == ALWAYS | {
        "kube.admission",
        "comparison.reconciler",
        "comparison.schedule",
        "comparison.variant_run",
        "comparison.status",
    }
