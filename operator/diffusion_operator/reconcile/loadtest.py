"""LoadTest → a Job, what its runner may touch, and the figures in its status."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.build.job import job, job_name
from diffusion_operator.build.metadata import digest
from diffusion_operator.build.runner_access import report_config_map, role, role_binding
from diffusion_operator.build.service import url
from diffusion_operator.build.service_account import service_account
from diffusion_operator.cache import Cache
from diffusion_operator.cluster import Cluster
from diffusion_operator.documents.load_report import LoadProgress, LoadReport
from diffusion_operator.objects import (
    RUN_LABEL,
    Key,
    Object,
    condition_of,
    is_owned,
    key_of,
    labels_of,
)
from diffusion_operator.observe import failure_of
from diffusion_operator.reconcile.problems import invalid_spec
from diffusion_operator.reconcile.writes import LOOK_AGAIN_SECONDS, NameTakenError, Writes, sooner
from diffusion_operator.settings import Settings
from diffusion_operator.status.loadtest import (
    PROGRESS_KEY,
    REPORT_KEY,
    Ended,
    Observed,
    is_over,
    test_status,
)

logger = logging.getLogger(__name__)

M = TypeVar("M", LoadProgress, LoadReport)


def run_of(test: Mapping[str, Any]) -> str:
    """Identifies the run: a changed spec is another one, and so is a test made anew."""
    meta = test["metadata"]
    return digest([meta["uid"], meta["generation"]])[:6]


def access_name(test: Mapping[str, Any]) -> str:
    """Name of the runner's ServiceAccount, Role and RoleBinding, and of the report's ConfigMap."""
    return f"{test['metadata']['name']}-loadtest"


class TestReconciler:
    """Makes one LoadTest come true."""

    __test__ = False  # not for pytest to collect

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        writes: Writes,
        settings: Settings,
        now: Callable[[], str],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._writes = writes
        self._settings = settings
        self._now = now

    async def __call__(self, key: Key) -> float | None:
        """Reconcile; returns in how many seconds to look again, if no event would say so."""
        test = self._cache.get(key)
        if test is None or test["metadata"].get("deletionTimestamp"):
            self._writes.forget(key)
            return None
        run = run_of(test)
        if is_over(test, run):
            return None
        try:
            spec = LoadTestSpec.model_validate(test["spec"])
        except ValidationError as error:
            failed = Ended("InvalidSpec", invalid_spec(error))
            return await self._say(
                test, Observed(run, "", "", "", access_name(test), failed=failed)
            )
        observed, again = await self._advance(test, spec, run)
        return sooner(again, await self._say(test, observed))

    async def _say(self, test: Object, observed: Observed) -> float | None:
        return await self._writes.status(test, test_status(test, observed, now=self._now()))

    async def _advance(
        self, test: Object, spec: LoadTestSpec, run: str
    ) -> tuple[Observed, float | None]:
        namespace = test["metadata"]["namespace"]
        name = spec.target_ref.name if spec.target_ref else ""
        target_url = url(name, namespace) if name else (spec.url or "")
        target = self._cache.get(Key("DiffusionService", namespace, name)) if name else None
        backend = target["spec"]["backend"] if target else ""

        def observed(**more: Any) -> Observed:
            return Observed(run, name, target_url, backend, access_name(test), **more)

        await self._end_other_runs(test, run)
        begun = self._cache.get(Key("Job", namespace, job_name(test, run))) is not None
        waiting = _not_ready(name, namespace, target) if name and not begun else None
        if waiting is not None:
            return observed(waiting=waiting), None
        try:
            running = await self._run(test, spec, run, target_url)
        except NameTakenError as error:
            return observed(waiting=Ended("NameTaken", str(error))), LOOK_AGAIN_SECONDS
        return observed(**await self._outcome(test, running, run)), None

    async def _end_other_runs(self, test: Object, run: str) -> None:
        meta = test["metadata"]
        for other in self._cache.jobs(meta["namespace"], meta["name"]):
            if is_owned(other, test) and labels_of(other).get(RUN_LABEL) != run:
                await self._cluster.delete(key_of(other))

    async def _run(self, test: Object, spec: LoadTestSpec, run: str, target_url: str) -> Object:
        """The run's Job and what its runner needs, made where they are missing."""
        access = access_name(test)
        builders = (service_account, report_config_map, role, role_binding)
        await self._writes.children(test, [build(test, access) for build in builders])
        wanted = job(test, spec, self._settings, run=run, target_url=target_url, access=access)
        return await self._writes.child_once(test, wanted)

    async def _outcome(self, test: Object, running: Object, run: str) -> dict[str, Any]:
        """How the run stands, as the fields of ``Observed`` that say so."""
        namespace = test["metadata"]["namespace"]
        place = Key("ConfigMap", namespace, access_name(test))
        written = self._cache.get(place) or {}
        report = _document(LoadReport, written, REPORT_KEY, run)
        over = _is_over(running)
        if over and report is None:
            # The report is older than the end of its Job, but the watch may bring it later.
            written = await self._cluster.get(place) or {}
            report = _document(LoadReport, written, REPORT_KEY, run)
        if report is not None:
            return {"report": report}
        pods = [
            pod
            for pod in self._cache.pods(namespace, test["metadata"]["name"])
            if labels_of(pod).get(RUN_LABEL) == run
        ]
        if over:
            return {"failed": _lost(running, pods)}
        progress = _document(LoadProgress, written, PROGRESS_KEY, run)
        return {"progress": progress, "waiting": None if progress else _stuck(pods)}


def _not_ready(name: str, namespace: str, target: Object | None) -> Ended | None:
    """Why the target can't be tested yet; nothing once it can."""
    if target is None:
        message = (
            f"there is no DiffusionService {name!r} in namespace {namespace!r}: "
            "apply it, or correct spec.targetRef.name"
        )
        return Ended("TargetNotFound", message)
    ready = condition_of(target, "Ready")
    if ready is None or ready.get("observedGeneration") != target["metadata"]["generation"]:
        return Ended("TargetNotReady", f"DiffusionService {name!r} is being rolled out")
    if ready["status"] != "True":
        said = f"{ready['reason']}: {ready['message']}"
        return Ended("TargetNotReady", f"DiffusionService {name!r} is not Ready: {said}")
    return None


def _is_over(running: Object) -> bool:
    ends = (condition_of(running, "Complete"), condition_of(running, "Failed"))
    return any(end is not None and end["status"] == "True" for end in ends)


def _stuck(pods: list[Object]) -> Ended | None:
    """Why the runner's pod doesn't start, if something keeps it from it."""
    failures = (failure_of(pod) for pod in pods)
    found = next((failure for failure in failures if failure is not None), None)
    return None if found is None else Ended(found.reason, f"pod {found.pod}: {found.message}")


def _lost(running: Object, pods: list[Object]) -> Ended:
    """Why a run that ended left no report."""
    found = _stuck(pods)
    if found is not None:
        return found
    failed = condition_of(running, "Failed") or {}
    why = failed.get("message") or "the runner ended without a report"
    return Ended("RunnerLost", f"{why}: change the spec, or apply the LoadTest anew, to run again")


def _document(model: type[M], config_map: Mapping[str, Any], key: str, run: str) -> M | None:
    """The document of this very run, if the runner has written it."""
    text = (config_map.get("data") or {}).get(key)
    if text is None:
        return None
    try:
        document = model.model_validate_json(text)
    except ValidationError:
        logger.exception("%s is not a document of a version that is known here", key)
        return None
    return document if document.run == run else None
