"""LoadTest → a Job, what its runner may touch, and the figures in its status."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.build.job import (
    job,
    job_name,
    master_service,
    prompts_of,
    workers_job,
)
from diffusion_operator.build.runner_access import report_config_map, role, role_binding
from diffusion_operator.build.service import url
from diffusion_operator.build.service_account import service_account
from diffusion_operator.cache import Cache
from diffusion_operator.cluster import ApiError, Cluster
from diffusion_operator.documents.load_report import LoadProgress, LoadReport
from diffusion_operator.objects import (
    RUN_LABEL,
    TEST_LABEL,
    Key,
    Object,
    condition_of,
    is_owned,
    labels_of,
)
from diffusion_operator.observe import failure_of
from diffusion_operator.reconcile.problems import invalid_spec, refusal
from diffusion_operator.reconcile.turns import Turns
from diffusion_operator.reconcile.writes import LOOK_AGAIN_SECONDS, NameTakenError, Writes, sooner
from diffusion_operator.runs.basis import (
    BASIS,
    Run,
    current_run,
    is_final,
    last_run,
    wanted_basis,
)
from diffusion_operator.runs.target import (
    SNAPSHOT,
    Disturbance,
    Snapshot,
    disturbance,
    replicas_of,
    snapshot,
    snapshot_of,
)
from diffusion_operator.runs.turns import is_over
from diffusion_operator.settings import Settings
from diffusion_operator.status.loadtest import (
    NO_RUN,
    PROGRESS_KEY,
    REPORT_KEY,
    Ended,
    KnownTarget,
    Observed,
    Unfinished,
    settled_status,
    test_status,
)

logger = logging.getLogger(__name__)

# A Job without a pod after this long has been refused one, by a quota or an admission controller.
PODS_WITHIN_SECONDS = 10.0
STOPPED = "Interrupted"  # the runner's word for a run that was ended from outside
GONE = "TargetDeleted"
BEGUN = {"Starting", "Running"}
STARTING = Unfinished("Starting", "RunnerStarting", "the runner's pod is starting")

M = TypeVar("M", LoadProgress, LoadReport)


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
        self._turns = Turns(cache, settings.max_concurrent_load_tests)
        self._ended: dict[Key, set[str]] = {}

    async def __call__(self, key: Key) -> float | None:
        """Reconcile; returns in how many seconds to look again, if no event would say so."""
        test = self._cache.get(key)
        if test is None or test["metadata"].get("deletionTimestamp"):
            self._forget(key)
            return None
        try:
            spec = LoadTestSpec.model_validate(test["spec"])
        except ValidationError as error:
            self._turns.leave(key)
            failed = Ended("InvalidSpec", invalid_spec(error))
            return await self._say(test, Observed(NO_RUN, access_name(test), failed=failed))
        look = _Look(self._cache, test, spec)
        run = look.run(self._live_jobs(key, test))
        if is_final(look.status) and look.status["run"] == run.name:
            return await self._settle(key, look)
        if spec.suspend and look.finished != run.name:
            await self._end_jobs(key, test)
            self._turns.leave(key)
            at = Unfinished("Suspended", "Suspended", "spec.suspend is true: no load is made")
            return await self._say(test, look.observed(NO_RUN, unfinished=at))
        await self._end_jobs(key, test, but=run.name)
        observed, again = await self._advance(key, look, run)
        return sooner(again, await self._say(test, observed))

    def _forget(self, key: Key) -> None:
        self._writes.forget(key)
        self._turns.leave(key)
        self._ended.pop(key, None)

    async def _say(self, test: Object, observed: Observed) -> float | None:
        return await self._writes.status(test, test_status(test, observed, now=self._now()))

    async def _settle(self, key: Key, look: "_Look") -> float | None:
        """Look after a run that has ended: only its report can still get lost."""
        self._turns.leave(key)
        run = look.status["run"]
        if look.status["state"] == "Failed":
            await self._end_jobs(key, look.test)  # workers whose runner is lost, say
        report = look.report
        try:
            status = settled_status(
                look.test,
                report_there=report is not None and report.run == run,
                history_limit=look.spec.history_limit,
                now=self._now(),
            )
        except ValidationError:
            return None  # another version's last word is left as it is
        return await self._writes.status(look.test, status)

    def _live_jobs(self, key: Key, test: Object) -> list[Object]:
        """The test's Jobs that aren't being ended, as far as the watch and this process know."""
        ended = self._ended.get(key, set())
        return [
            found
            for found in self._cache.jobs(key.namespace, key.name)
            if is_owned(found, test)
            and not found["metadata"].get("deletionTimestamp")
            and found["metadata"]["uid"] not in ended
        ]

    async def _end_jobs(self, key: Key, test: Object, but: str = "") -> None:
        """End the load of every run, but for the one named."""
        for found in self._live_jobs(key, test):
            if labels_of(found).get(RUN_LABEL) != but:
                await self._cluster.delete(found)
                self._ended.setdefault(key, set()).add(found["metadata"]["uid"])

    async def _advance(self, key: Key, look: "_Look", run: Run) -> tuple[Observed, float | None]:
        """Make the run begin, or see how it stands."""
        place = Key("Job", key.namespace, job_name(look.test, run.name))
        running = self._cache.get(place)
        if running is not None and running["metadata"]["uid"] in self._ended.get(key, set()):
            running = None
        begun = running is not None or look.has_begun(run)
        if not begun:
            held_up, again = await self._held_up(key, look, run)
            if held_up is not None:
                return look.observed(run, unfinished=held_up), again
        self._turns.begin(key, run.name)
        try:
            if running is None and begun:
                running = await self._cluster.get(place)
            else:
                running = await self._ensure(look, run, running)
        except NameTakenError as error:
            self._turns.leave(key)
            at = Unfinished("Waiting", "NameTaken", str(error))
            return look.observed(run, unfinished=at), LOOK_AGAIN_SECONDS
        except ApiError as error:
            refused = refusal(error)
            await self._end_jobs(key, look.test)  # without the others it would load unseen
            self._turns.leave(key)
            at = Unfinished("Waiting", refused.reason, refused.message)
            return look.observed(run, unfinished=at), LOOK_AGAIN_SECONDS
        observed, again = await self._outcome(look, run, running)
        if running is not None and _is_hopeless(look, run):
            await self._end_jobs(key, look.test)
        return observed, again

    async def _held_up(
        self, key: Key, look: "_Look", run: Run
    ) -> tuple[Unfinished | None, float | None]:
        """Why the run can't begin yet, and when to look again where no event would tell."""
        waiting = look.target_trouble()
        if waiting is not None:
            self._turns.leave(key)
            return waiting, None
        waiting = await self._prompts_trouble(look)
        if waiting is not None:
            self._turns.leave(key)
            return waiting, LOOK_AGAIN_SECONDS
        if not self._turns.ask(key, look.target_id, run.name):
            limit = self._settings.max_concurrent_load_tests
            message = f"at most {limit} load test(s) run against {look.target_id} at a time"
            return Unfinished("Queued", "OthersFirst", message), None
        return None, None

    async def _prompts_trouble(self, look: "_Look") -> Unfinished | None:
        """What keeps the prompts from being read; others' ConfigMaps aren't watched."""
        wanted = prompts_of(look.spec)
        if wanted is None:
            return None
        found = await self._cluster.get(Key("ConfigMap", look.namespace, wanted.name))
        if found is None:
            message = f"there is no ConfigMap {wanted.name!r}: apply it with one prompt a line"
            return Unfinished("Waiting", "PromptsMissing", message)
        if not (found.get("data") or {}).get(wanted.key, "").strip():
            message = f"ConfigMap {wanted.name!r} has no prompt under {wanted.key!r}"
            return Unfinished("Waiting", "PromptsMissing", message)
        return None

    async def _ensure(self, look: "_Look", run: Run, running: Object | None) -> Object:
        """The run's Jobs and what its runner needs, made where they are missing."""
        test, spec, access = look.test, look.spec, access_name(look.test)
        if running is not None and is_over(running):
            return running
        account = service_account(test, access)
        # What the runner needs when it runs, which takes a pod longer than writing these.
        others = [build(test, access) for build in (report_config_map, role, role_binding)]
        if spec.workers > 1:
            others.append(master_service(test, run.name))
        if running is not None:
            await self._writes.children(test, others, after=[account])
        else:
            annotations = {BASIS: run.of.text()}
            if look.service is not None:
                seen = snapshot(look.service, look.target_pods, look.replicas)
                annotations[SNAPSHOT] = seen.text()
            manifest = job(
                test,
                spec,
                self._settings,
                run=run.name,
                target_url=look.url,
                access=access,
                annotations=annotations,
            )
            running = await self._writes.child_once(test, manifest, after=[account], later=others)
        if spec.workers > 1:
            manifest = workers_job(
                test,
                spec,
                self._settings,
                run=run.name,
                target_url=look.url,
                access=access,
            )
            await self._writes.child_once(test, manifest)
        return running

    async def _outcome(
        self, look: "_Look", run: Run, running: Object | None
    ) -> tuple[Observed, float | None]:
        """How the run stands; ``running`` is its Job, if it is still there."""
        over = running is None or is_over(running)
        if over and look.report_of(run) is None:
            # The report is older than the end of its Job, but the watch may bring it later.
            place = Key("ConfigMap", look.namespace, access_name(look.test))
            found = await self._cluster.get(place)
            if found is not None:  # a Comparison reads it where it looks
                self._cache.wrote(found)
            look.read(found)
        report, pods = look.report_of(run), look.runner_pods(run)
        seen = look.disturbance(run, running, report, self._now())
        tested = look.tested(snapshot_of(running) if running else None)
        observed = replace(look.observed(run), tested=tested, disturbance=seen)
        if report is not None:
            return replace(observed, report=report, failed=_ended_by(seen, report)), None
        if over and not (running is None and pods):
            return replace(observed, failed=_lost(running, pods, seen)), None
        progress = look.progress_of(run)
        if progress is not None and progress.state != "Waiting":
            at = Unfinished("Running", progress.phase or "Running", "the load is on")
            return replace(observed, unfinished=at, progress=progress), None
        at, again = _starting(running, pods, progress, self._now())
        return replace(observed, unfinished=at), again


class _Look:
    """All that is known of one test at the moment of one reconciliation."""

    def __init__(self, cache: Cache, test: Object, spec: LoadTestSpec) -> None:
        self.test, self.spec = test, spec
        self.namespace: str = test["metadata"]["namespace"]
        self.status: Mapping[str, Any] = test.get("status") or {}
        name = spec.target_ref.name if spec.target_ref else ""
        self.target_name = name
        self.url = url(name, self.namespace) if name else (spec.url or "")
        self.target_id = name or self.url
        self.service: Object | None = None
        self.target_pods: list[Object] = []
        self.replicas = 0
        if name:
            self.service = cache.get(Key("DiffusionService", self.namespace, name))
            self.target_pods = cache.pods(self.namespace, name)
        if self.service is not None:
            deployment = cache.get(Key("Deployment", self.namespace, name))
            self.replicas = replicas_of(self.service, deployment)
        self._pods = cache.pods(self.namespace, test["metadata"]["name"])
        self.report: LoadReport | None = None
        self._progress: LoadProgress | None = None
        self.read(cache.get(Key("ConfigMap", self.namespace, access_name(test))))

    def read(self, written: Object | None) -> None:
        """Take in what the runner has written, if the ConfigMap is this test's."""
        if written is not None and is_owned(written, self.test):
            self.report = _document(LoadReport, written, REPORT_KEY)
            self._progress = _document(LoadProgress, written, PROGRESS_KEY)

    def run(self, jobs: list[Object]) -> Run:
        """The run to look at."""
        told, revision = last_run(self.status), ""
        if self.service is not None and self.target_trouble() is None:
            revision = (self.service.get("status") or {}).get("revision", "")
        elif told is not None:
            revision = told.of.revision
        return current_run(
            self.test,
            jobs,
            wanted_basis(self.test, revision),
            rerun=self.spec.rerun,
            reported=self.finished,
        )

    @property
    def finished(self) -> str | None:
        """The run whose report is there, unless it only says that the run was stopped."""
        if self.report is None or (self.report.error and self.report.error.reason == STOPPED):
            return None
        return self.report.run

    def has_begun(self, run: Run) -> bool:
        """Whether the status says that this run's Job was made."""
        return self.status.get("run") == run.name and self.status.get("state") in BEGUN

    def report_of(self, run: Run) -> LoadReport | None:
        return self.report if self.report is not None and self.report.run == run.name else None

    def progress_of(self, run: Run) -> LoadProgress | None:
        found = self._progress
        return found if found is not None and found.run == run.name else None

    def runner_pods(self, run: Run) -> list[Object]:
        """The pods of the run, its workers' too."""
        return [
            pod
            for pod in self._pods
            if TEST_LABEL in labels_of(pod) and labels_of(pod).get(RUN_LABEL) == run.name
        ]

    def observed(self, run: Run, unfinished: Unfinished | None = None) -> Observed:
        return Observed(
            run,
            access_name(self.test),
            tested=self.tested(None),
            has_slo=self.spec.slo is not None,
            history_limit=self.spec.history_limit,
            unfinished=unfinished,
        )

    def tested(self, at_begin: Snapshot | None) -> KnownTarget:
        backend = self.service["spec"]["backend"] if self.service else ""
        before = self.status.get("target") or {}
        return KnownTarget(
            self.target_name, self.url, backend or before.get("backend", ""), at_begin
        )

    def target_trouble(self) -> Unfinished | None:
        """Why the target can't be tested yet; nothing once it can."""
        if not self.target_name:
            return None
        name = self.target_name
        if self.service is None or self.service["metadata"].get("deletionTimestamp"):
            message = (
                f"there is no DiffusionService {name!r} in namespace {self.namespace!r}: "
                "apply it, or correct spec.targetRef.name"
            )
            return Unfinished("Waiting", "TargetNotFound", message)
        ready = condition_of(self.service, "Ready")
        generation = self.service["metadata"]["generation"]
        if ready is None or ready.get("observedGeneration") != generation:
            message = f"DiffusionService {name!r} is being rolled out"
            return Unfinished("Waiting", "TargetNotReady", message)
        if ready["status"] != "True":
            said = f"{ready['reason']}: {ready['message']}"
            message = f"DiffusionService {name!r} is not Ready: {said}"
            return Unfinished("Waiting", "TargetNotReady", message)
        return None

    def told_disturbance(self, run: Run) -> Disturbance | None:
        """What the status already tells of the target's part in the run."""
        valid = condition_of(self.test, "Valid")
        told = self.status.get("run") == run.name and valid is not None
        if not told or valid is None or valid["status"] != "False":
            return None
        return Disturbance(reason=valid["reason"], message=valid["message"])

    def disturbance(
        self, run: Run, running: Object | None, report: LoadReport | None, now: str
    ) -> Disturbance | None:
        """What happened to the target during the run; once told, it stays so."""
        told = self.told_disturbance(run)
        before = snapshot_of(running) if running is not None else None
        if told is not None or before is None:
            return told
        return disturbance(
            before,
            self.service,
            self.target_pods,
            self.replicas,
            until=report.completion_time if report else None,
            now=now,
        )


def _is_hopeless(look: _Look, run: Run) -> bool:
    """Whether the run goes on against nothing, and its status says so."""
    told = look.told_disturbance(run)
    return told is not None and told.reason == GONE and look.report_of(run) is None


def _ended_by(seen: Disturbance | None, report: LoadReport) -> Ended | None:
    """Why this operator ended a run that reports no more than that it was ended."""
    stopped = report.error is not None and report.error.reason == STOPPED
    gone = seen is not None and seen.reason == GONE
    return Ended(seen.reason, seen.message) if stopped and gone and seen is not None else None


def _starting(
    running: Object | None, pods: list[Object], progress: LoadProgress | None, now: str
) -> tuple[Unfinished, float | None]:
    """What a run that makes no load yet waits for, and when to look again."""
    stuck = _stuck(pods)
    if stuck is not None:
        return Unfinished("Starting", stuck.reason, stuck.message), None
    if progress is not None and progress.message:
        return Unfinished("Starting", "RunnerWaiting", progress.message), None
    if pods or running is None:
        return STARTING, None
    made = datetime.fromisoformat(running["metadata"]["creationTimestamp"])
    age = (datetime.fromisoformat(now) - made).total_seconds()
    if age < PODS_WITHIN_SECONDS:
        return STARTING, PODS_WITHIN_SECONDS - age
    name = running["metadata"]["name"]
    message = f"no pod is made for Job {name}: a quota or a policy? See kubectl describe job {name}"
    return Unfinished("Starting", "NoPods", message), None


def _stuck(pods: list[Object]) -> Ended | None:
    """Why a pod of the run doesn't start, if something keeps it from it."""
    failures = (failure_of(pod) for pod in pods)
    found = next((failure for failure in failures if failure is not None), None)
    return None if found is None else Ended(found.reason, f"pod {found.pod}: {found.message}")


def _lost(running: Object | None, pods: list[Object], seen: Disturbance | None) -> Ended:
    """Why a run that ended left no report."""
    if seen is not None and seen.reason == GONE:
        return Ended(seen.reason, seen.message)
    found = _stuck(pods)
    if found is not None:
        return found
    failed = (condition_of(running, "Failed") if running else None) or {}
    why = failed.get("message") or (
        "the runner ended without a report" if running else "the runner's Job was deleted"
    )
    message = f"{why}: to run again, set the annotation diffusion.dev/run-at to a new value"
    return Ended("RunnerLost", message)


def _document(model: type[M], config_map: Mapping[str, Any], key: str) -> M | None:
    """The document, if the runner has written one that is known here."""
    text = (config_map.get("data") or {}).get(key)
    if text is None:
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError:
        # Without its traceback and values: a document may say what the target was asked.
        logger.error("%s is not a document of a version that is known here", key)  # noqa: TRY400
        return None
