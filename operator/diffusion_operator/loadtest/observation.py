"""Observation of a LoadTest: its run, its target and what the runner has written."""

from typing import Literal

from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.api.observed import ObservedLoadTest, ObservedService
from diffusion_operator.api.state import RunState
from diffusion_operator.diffusionservice.specs.service import url
from diffusion_operator.documents.load_report import (
    PROGRESS_KEY,
    REPORT_KEY,
    LoadProgress,
    LoadReport,
    document,
)
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.conditions import Verdict, condition_of
from diffusion_operator.kube.objects import (
    RUN_LABEL,
    TEST_LABEL,
    Key,
    Object,
    is_owned,
    labels_of,
)
from diffusion_operator.loadtest.analysis.regression import REGRESSED, regressed
from diffusion_operator.loadtest.analysis.run_identity import (
    Run,
    current_run,
    desired_identity,
    last_run,
)
from diffusion_operator.loadtest.analysis.target import (
    GONE,
    Disturbance,
    Snapshot,
    disturbance,
    replicas_of,
    snapshot_of,
)
from diffusion_operator.loadtest.baseline import baseline
from diffusion_operator.loadtest.specs.runner_access import access_name
from diffusion_operator.loadtest.status import KnownTarget, Observed, Unfinished

STOPPED = "Interrupted"  # the runner's reason for an interrupted run


class Observation:
    """Observation of one LoadTest, its target and its run at one reconcile."""

    def __init__(self, cache: Cache, test: Object, spec: LoadTestSpec) -> None:
        self.test, self.spec = test, spec
        self.namespace: str = test["metadata"]["namespace"]
        self.status = ObservedLoadTest.of(test)
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
        self._baseline = baseline(cache, test, spec.baseline_ref) if spec.baseline_ref else None
        self.report: LoadReport | None = None
        self._progress: LoadProgress | None = None
        self.read(cache.get(Key("ConfigMap", self.namespace, access_name(test))))

    def read(self, written: Object | None) -> None:
        """Read the runner's documents, if the ConfigMap is this test's."""
        if written is not None and is_owned(written, self.test):
            self.report = document(LoadReport, written, REPORT_KEY)
            self._progress = document(LoadProgress, written, PROGRESS_KEY)

    def run(self, jobs: list[Object]) -> Run:
        """Current run of the test."""
        recorded, revision = last_run(self.status), ""
        if self.service is not None and self.target_trouble() is None:
            revision = ObservedService.of(self.service).revision or ""
        elif recorded is not None:
            revision = recorded.of.revision
        return current_run(
            self.test,
            jobs,
            desired_identity(self.test, revision),
            rerun=self.spec.rerun,
            reported=self.finished,
        )

    @property
    def finished(self) -> str | None:
        """Run with a report, unless the report only says that the run was interrupted."""
        if self.report is None or (self.report.error and self.report.error.reason == STOPPED):
            return None
        return self.report.run

    def has_begun(self, run: Run) -> bool:
        """Whether the status says that the run's Job exists."""
        return self.status.run == run.name and self.status.state.is_active

    def report_of(self, run: Run) -> LoadReport | None:
        return self.report if self.report is not None and self.report.run == run.name else None

    def progress_of(self, run: Run) -> LoadProgress | None:
        progress = self._progress
        return progress if progress is not None and progress.run == run.name else None

    def runner_pods(self, run: Run) -> list[Object]:
        """Pods of the run, its workers included."""
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
            baseline=self._baseline,
        )

    def comparison(self) -> Verdict | None:
        """Verdict of the ended run against the baseline; a decided one stays with its spec."""
        if self._baseline is None:
            return None
        before, valid = self.status.condition(REGRESSED), self.status.condition("Valid")
        same_spec = self.status.observed_generation == self.test["metadata"]["generation"]
        if same_spec and before is not None and (before.is_true or before.is_false):
            status: Literal["True", "False"] = "True" if before.is_true else "False"
            return Verdict(REGRESSED, status, before.reason, before.message)
        ended = self.report if valid is not None and valid.is_true else None
        measured = self.status.spec_digest == desired_identity(self.test, "").spec
        is_current = measured and ended is not None and ended.run == self.status.run
        return regressed(ended if is_current else None, self._baseline)

    def tested(self, at_begin: Snapshot | None) -> KnownTarget:
        backend = self.service["spec"]["backend"] if self.service else ""
        backend = backend or self.status.target.backend
        return KnownTarget(self.target_name, self.url, backend, at_begin)

    def target_trouble(self) -> Unfinished | None:
        """Reason why the target can't be tested yet; ``None`` once it can."""
        if not self.target_name:
            return None
        name = self.target_name
        if self.service is None or self.service["metadata"].get("deletionTimestamp"):
            message = (
                f"there is no DiffusionService {name!r} in namespace {self.namespace!r}: "
                "apply it, or correct spec.targetRef.name"
            )
            return Unfinished(RunState.WAITING, "TargetNotFound", message)
        ready = condition_of(self.service, "Ready")
        generation = self.service["metadata"]["generation"]
        if ready is None or ready.observed_generation != generation:
            message = f"DiffusionService {name!r} is being rolled out"
            return Unfinished(RunState.WAITING, "TargetNotReady", message)
        if not ready.is_true:
            why = f"{ready.reason}: {ready.message}"
            message = f"DiffusionService {name!r} is not Ready: {why}"
            return Unfinished(RunState.WAITING, "TargetNotReady", message)
        return None

    def recorded_disturbance(self, run: Run) -> Disturbance | None:
        """Disturbance of the run that the status has recorded."""
        valid = self.status.condition("Valid")
        if self.status.run != run.name or valid is None or not valid.is_false:
            return None
        return Disturbance(reason=valid.reason, message=valid.message)

    def is_hopeless(self, run: Run) -> bool:
        """Whether the target of the run is gone and the status says so."""
        recorded = self.recorded_disturbance(run)
        return recorded is not None and recorded.reason == GONE and self.report_of(run) is None

    def disturbance(
        self, run: Run, running: Object | None, report: LoadReport | None, now: str
    ) -> Disturbance | None:
        """Disturbance of the run; a recorded one stays."""
        recorded = self.recorded_disturbance(run)
        before = snapshot_of(running) if running is not None else None
        if recorded is not None or before is None:
            return recorded
        return disturbance(
            before,
            self.service,
            self.target_pods,
            self.replicas,
            until=report.completion_time if report else None,
            now=now,
        )
