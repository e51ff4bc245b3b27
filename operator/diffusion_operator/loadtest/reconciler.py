"""Reconciler of a LoadTest: its Jobs, the runner's access, and the figures in the status."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.api.state import RunState
from diffusion_operator.documents.load_report import LoadProgress, LoadReport
from diffusion_operator.kube.applier import LOOK_AGAIN_SECONDS, Applier, NameTakenError, sooner
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, Cluster
from diffusion_operator.kube.conditions import condition_of
from diffusion_operator.kube.objects import (
    RUN_LABEL,
    TEST_LABEL,
    Key,
    Object,
    is_orphan_of,
    is_owned,
    labels_of,
)
from diffusion_operator.kube.pod_status import failure_of
from diffusion_operator.kube.problems import LastingFailures, SpecError, invalid_spec, refusal
from diffusion_operator.kube.service_account import service_account
from diffusion_operator.loadtest.admission import TargetAdmission
from diffusion_operator.loadtest.analysis.run_identity import RUN_IDENTITY, Run
from diffusion_operator.loadtest.analysis.target import (
    GONE,
    SNAPSHOT,
    Disturbance,
    autoscaling_of,
    snapshot,
    snapshot_of,
)
from diffusion_operator.loadtest.observation import STOPPED, Observation
from diffusion_operator.loadtest.specs.job import (
    WEB_UI_SECONDS,
    PlannedRun,
    is_over,
    job,
    job_name,
    master_service,
    prompts_of,
    workers_job,
)
from diffusion_operator.loadtest.specs.network_policy import network_policy
from diffusion_operator.loadtest.specs.runner_access import (
    access_name,
    report_config_map,
    role,
    role_binding,
)
from diffusion_operator.loadtest.status import (
    NO_RUN,
    Ended,
    Observed,
    Unfinished,
    settled_status,
    test_status,
)
from diffusion_operator.settings import Settings

# After this long, a quota or an admission controller has refused the Job's pod.
PODS_WITHIN_SECONDS = 10.0
# A runner ends by itself soon after its report; the log of one with a sidecar is there until then.
LEFTOVER_SECONDS = 60.0
STARTING = Unfinished(RunState.STARTING, "RunnerStarting", "the runner's pod is starting")


class TestReconciler:
    """Reconciler that runs one LoadTest."""

    __test__ = False  # not for pytest to collect

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        applier: Applier,
        settings: Settings,
        now: Callable[[], str],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._applier = applier
        self._settings = settings
        self._now = now
        self._admission = TargetAdmission(cache, settings.max_concurrent_load_tests)
        self._failures = LastingFailures()
        self._ended: dict[Key, set[str]] = {}

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one LoadTest.

        Returns:
            Seconds until the next reconcile, where no event would cause it.
        """
        test = self._cache.get(key)
        if test is None or test["metadata"].get("deletionTimestamp"):
            self._forget(key)
            return None
        try:
            spec = LoadTestSpec.model_validate(test["spec"])
        except ValidationError as error:
            self._admission.release(key)
            failed = Ended("InvalidSpec", invalid_spec(error))
            return await self._write_status(
                test, Observed(NO_RUN, access_name(test), failed=failed)
            )
        look = Observation(self._cache, test, spec)
        run = look.run(self._live_jobs(key, test))
        if look.status.has_ended and look.status.run == run.name:
            return await self._settle(key, look)
        if spec.suspend and look.finished != run.name:
            await self._end_jobs(key, test)
            self._admission.release(key)
            at = Unfinished(
                RunState.SUSPENDED, "Suspended", "spec.suspend is true: no load is made"
            )
            return await self._write_status(test, look.observed(NO_RUN, unfinished=at))
        await self._end_jobs(key, test, but=run.name)
        try:
            observed, again = await self._advance(key, look, run)
        except ApiError as error:
            await self._write_blocked(error, key, look, run)
            raise
        self._failures.clear(key)
        return sooner(again, await self._write_status(test, observed))

    async def _write_blocked(self, error: ApiError, key: Key, look: Observation, run: Run) -> None:
        """Write into the status that the run can't begin, once its failures last."""
        blocked = self._failures.add(key, error)
        if blocked is None or self._live_jobs(key, look.test):
            return
        self._admission.release(key)
        at = Unfinished(RunState.WAITING, blocked.reason, blocked.message)
        await self._write_status(look.test, look.observed(run, unfinished=at))

    def _forget(self, key: Key) -> None:
        self._applier.forget(key)
        self._failures.clear(key)
        self._admission.release(key)
        self._ended.pop(key, None)

    async def _write_status(self, test: Object, observed: Observed) -> float | None:
        return await self._applier.apply_status(test, test_status(test, observed, now=self._now()))

    async def _settle(self, key: Key, look: Observation) -> float | None:
        """Check an ended run, whose report can still be lost."""
        self._admission.release(key)
        run = look.status.run
        again = None
        if look.status.state is RunState.FAILED:
            await self._end_jobs(key, look.test)  # for example workers of a lost runner
        else:
            again = await self._end_leftovers(key, look)
        report = look.report
        try:
            status = settled_status(
                look.test,
                look.comparison(),
                report_there=report is not None and report.run == run,
                history_limit=look.spec.history_limit,
                now=self._now(),
            )
        except ValidationError:
            return None  # a status of another version stays as it is
        return sooner(again, await self._applier.apply_status(look.test, status))

    async def _end_leftovers(self, key: Key, look: Observation) -> float | None:
        """End Jobs that outlive their run's report, as those of an injected sidecar do.

        Returns:
            Seconds until that is due, or ``None``.
        """
        left = [each for each in self._live_jobs(key, look.test) if not is_over(each)]
        ended = condition_of(look.test, "Complete")
        since = ended.last_transition_time if ended is not None and ended.is_true else None
        if not left or since is None:
            return None
        age = datetime.fromisoformat(self._now()) - datetime.fromisoformat(since)
        stays = LEFTOVER_SECONDS + (WEB_UI_SECONDS if look.spec.web_ui else 0)
        if age.total_seconds() < stays:
            return stays - age.total_seconds()
        await self._end_jobs(key, look.test)
        return None

    def _live_jobs(self, key: Key, test: Object) -> list[Object]:
        """Jobs of the test that are not terminating, as far as watch and process know."""
        ended = self._ended.get(key, set())
        return [
            each
            for each in self._cache.jobs(key.namespace, key.name)
            if (is_owned(each, test) or is_orphan_of(each, test, TEST_LABEL))
            and not each["metadata"].get("deletionTimestamp")
            and each["metadata"]["uid"] not in ended
        ]

    async def _end_jobs(self, key: Key, test: Object, but: str = "") -> None:
        """Delete the Jobs of every run except the named one."""
        for each in self._live_jobs(key, test):
            if labels_of(each).get(RUN_LABEL) != but:
                await self._cluster.delete(each)
                self._ended.setdefault(key, set()).add(each["metadata"]["uid"])

    async def _advance(
        self, key: Key, look: Observation, run: Run
    ) -> tuple[Observed, float | None]:
        """Begin the run, or observe it."""
        place = Key("Job", key.namespace, job_name(look.test, run.name))
        running = self._cache.get(place)
        if running is not None and running["metadata"]["uid"] in self._ended.get(key, set()):
            running = None
        begun = running is not None or look.has_begun(run)
        if not begun:
            held_up, again = await self._held_up(key, look, run)
            if held_up is not None:
                return look.observed(run, unfinished=held_up), again
        self._admission.begin(key, run.name)
        try:
            if running is None and begun:
                running = await self._cluster.get(place)
            else:
                running = await self._ensure(look, run, running)
        except NameTakenError as error:
            self._admission.release(key)
            at = Unfinished(RunState.WAITING, "NameTaken", str(error))
            return look.observed(run, unfinished=at), LOOK_AGAIN_SECONDS
        except SpecError as error:
            self._admission.release(key)
            at = Unfinished(RunState.WAITING, error.reason, error.message)
            return look.observed(run, unfinished=at), None
        except ApiError as error:
            refused = refusal(error)
            # a Job without its ConfigMap would load unobserved
            await self._end_jobs(key, look.test)
            self._admission.release(key)
            at = Unfinished(RunState.WAITING, refused.reason, refused.message)
            return look.observed(run, unfinished=at), LOOK_AGAIN_SECONDS
        observed, again = await self._outcome(look, run, running)
        if running is not None and look.is_hopeless(run):
            await self._end_jobs(key, look.test)
        return observed, again

    async def _held_up(
        self, key: Key, look: Observation, run: Run
    ) -> tuple[Unfinished | None, float | None]:
        """Reason why the run can't begin yet, and the seconds until the next check."""
        waiting = look.target_trouble()
        if waiting is not None:
            self._admission.release(key)
            return waiting, None
        waiting = await self._prompts_trouble(look)
        if waiting is not None:
            self._admission.release(key)
            return waiting, LOOK_AGAIN_SECONDS
        if not self._admission.ask(look.test, run.name):
            limit = self._settings.max_concurrent_load_tests
            message = f"at most {limit} load test(s) run against {look.target_id} at a time"
            return Unfinished(RunState.QUEUED, "OthersFirst", message), None
        return None, None

    async def _prompts_trouble(self, look: Observation) -> Unfinished | None:
        """Reason why the prompts can't be read; foreign ConfigMaps aren't watched."""
        reference = prompts_of(look.spec)
        if reference is None:
            return None
        config_map = await self._cluster.get(Key("ConfigMap", look.namespace, reference.name))
        if config_map is None:
            message = f"there is no ConfigMap {reference.name!r}: apply it with one prompt a line"
            return Unfinished(RunState.WAITING, "PromptsMissing", message)
        if not (config_map.get("data") or {}).get(reference.key, "").strip():
            message = f"ConfigMap {reference.name!r} has no prompt under {reference.key!r}"
            return Unfinished(RunState.WAITING, "PromptsMissing", message)
        return None

    async def _ensure(self, look: Observation, run: Run, running: Object | None) -> Object:
        """Create the run's missing Jobs and the objects that its runner needs."""
        test, spec, access = look.test, look.spec, access_name(look.test)
        planned = PlannedRun(
            test,
            spec,
            self._settings,
            run=run.name,
            target_url=look.url,
            access=access,
            is_autoscaled=look.service is not None and bool(autoscaling_of(look.service)),
        )
        if running is not None:
            running = await self._applier.adopt(test, running)
            if is_over(running):
                # The report may be an orphan, too.
                await self._applier.apply(test, [report_config_map(test, access)])
                return running
        account = service_account(test, access)
        # The runner needs these only once its pod runs, which takes longer than these writes.
        others = [build(test, access) for build in (report_config_map, role, role_binding)]
        if spec.workers > 1:
            others.append(master_service(test, run.name))
            if self._settings.network_policy is not None:
                others.append(network_policy(test))
        if running is not None:
            await self._applier.apply(test, others, after=[account])
        else:
            annotations = {RUN_IDENTITY: run.of.text()}
            if look.service is not None:
                target = snapshot(look.service, look.target_pods, look.replicas)
                annotations[SNAPSHOT] = target.text()
            manifest = job(planned, annotations)
            running = await self._applier.create_once(test, manifest, after=[account], later=others)
        if spec.workers > 1:
            await self._applier.create_once(test, workers_job(planned))
        return running

    async def _outcome(
        self, look: Observation, run: Run, running: Object | None
    ) -> tuple[Observed, float | None]:
        """Observe the run; ``running`` is its Job, if it exists."""
        over = running is None or is_over(running)
        if over and look.report_of(run) is None:
            # The runner writes the report before its Job ends, but the watch may deliver it later.
            place = Key("ConfigMap", look.namespace, access_name(look.test))
            config_map = await self._cluster.get(place)
            if config_map is not None:  # a Comparison reads it from the cache
                self._cache.record_write(config_map)
            look.read(config_map)
        report, pods = look.report_of(run), look.runner_pods(run)
        cause = look.disturbance(run, running, report, self._now())
        tested = look.tested(snapshot_of(running) if running else None)
        observed = replace(look.observed(run), tested=tested, disturbance=cause)
        if report is not None:
            return replace(observed, report=report, failed=_ended_by(cause, report)), None
        if over and not (running is None and pods):
            return replace(observed, failed=_lost(running, pods, cause)), None
        progress = look.progress_of(run)
        if progress is not None and progress.state != "Waiting":
            at = Unfinished(RunState.RUNNING, progress.phase or "Running", "the load is running")
            return replace(observed, unfinished=at, progress=progress), None
        at, again = _starting(running, pods, progress, self._now())
        return replace(observed, unfinished=at), again


def _ended_by(cause: Disturbance | None, report: LoadReport) -> Ended | None:
    """Failure of a run that the operator interrupted."""
    stopped = report.error is not None and report.error.reason == STOPPED
    gone = cause is not None and cause.reason == GONE
    return Ended(cause.reason, cause.message) if stopped and gone and cause is not None else None


def _starting(
    running: Object | None, pods: list[Object], progress: LoadProgress | None, now: str
) -> tuple[Unfinished, float | None]:
    """Reason why a run makes no load yet, and the seconds until the next check."""
    stuck = _stuck(pods)
    if stuck is not None:
        return Unfinished(RunState.STARTING, stuck.reason, stuck.message), None
    if progress is not None and progress.message:
        return Unfinished(RunState.STARTING, "RunnerWaiting", progress.message), None
    if pods or running is None:
        return STARTING, None
    made = datetime.fromisoformat(running["metadata"]["creationTimestamp"])
    age = (datetime.fromisoformat(now) - made).total_seconds()
    if age < PODS_WITHIN_SECONDS:
        return STARTING, PODS_WITHIN_SECONDS - age
    name = running["metadata"]["name"]
    message = (
        f"Job {name} has no pod, maybe for a quota or a policy: see kubectl describe job {name}"
    )
    return Unfinished(RunState.STARTING, "NoPods", message), None


def _stuck(pods: list[Object]) -> Ended | None:
    """Failure that keeps a pod of the run from starting."""
    failures = (failure_of(pod) for pod in pods)
    failure = next((failure for failure in failures if failure is not None), None)
    return (
        None if failure is None else Ended(failure.reason, f"pod {failure.pod}: {failure.message}")
    )


def _lost(running: Object | None, pods: list[Object], cause: Disturbance | None) -> Ended:
    """Failure of a run that ended without a report."""
    if cause is not None and cause.reason == GONE:
        return Ended(cause.reason, cause.message)
    stuck = _stuck(pods)
    if stuck is not None:
        return stuck
    failed = condition_of(running, "Failed") if running else None
    why = (failed.message if failed else "") or (
        "the runner ended without a report" if running else "the runner's Job was deleted"
    )
    message = f"{why}: to run again, set the annotation diffusion.dev/run-at to a new value"
    return Ended("RunnerLost", message)
