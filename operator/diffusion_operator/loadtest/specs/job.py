"""Jobs of a run: the runner, and the workers that share its load."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffusion_operator.api.load_request import ConfigMapKey
from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.kube.conditions import condition_of
from diffusion_operator.kube.expansion import unexpanded
from diffusion_operator.kube.label_selector import labels, selector
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import ROLE_LABEL, RUN_LABEL, Object
from diffusion_operator.kube.pod_security import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    SCRATCH_MOUNT,
    SCRATCH_VOLUME,
    resources,
)
from diffusion_operator.kube.pod_template import guard_labels, invalid, patched, with_defaults
from diffusion_operator.loadtest.specs.load_plan import (
    API_KEY_VARIABLE,
    PROMPTS_MOUNT,
    load_plan,
    longest_seconds,
)
from diffusion_operator.settings import Settings

CONTAINER = "locust"
RUNNER, WORKER = "runner", "worker"
# Time for the waits for target and workers, for the stop, and for a report to an absent API server.
OVERHEAD_SECONDS = 900
WEB_UI_SECONDS = 600
STOP_SECONDS = 30
# An autoscaler that moves a runner to save a node would end its run.
STAYS = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
MASTER_PORT = 5557


def job_name(owner: Mapping[str, Any], run: str) -> str:
    """Name of a run's Job, at most 62 of a label's 63 characters."""
    return f"{owner['metadata']['name']}-lt-{run}"


def workers_name(owner: Mapping[str, Any], run: str) -> str:
    """Name of the workers' Job: at most 60, since a pod's index adds up to three."""
    return f"{owner['metadata']['name']}-w{run}"


def master_name(owner: Mapping[str, Any]) -> str:
    """Name of the Service by which workers find the runner; a Service's must begin with a
    letter.
    """
    return f"lt-{owner['metadata']['name']}-master"


def master_service(owner: Mapping[str, Any], run: str) -> Object:
    """Headless Service that leads workers to their runner before it is ready."""
    return child(
        owner,
        "Service",
        master_name(owner),
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {**selector(owner), RUN_LABEL: run, ROLE_LABEL: RUNNER},
            "ports": [{"name": "locust", "port": MASTER_PORT, "targetPort": MASTER_PORT}],
        },
    )


@dataclass(frozen=True)
class PlannedRun:
    """Run that begins: its LoadTest, its target, and the objects that it may use."""

    owner: Mapping[str, Any]
    spec: LoadTestSpec
    settings: Settings
    run: str
    target_url: str
    access: str
    """Name of the runner's ServiceAccount and of the report's ConfigMap."""
    is_autoscaled: bool = False
    """Whether replicas of the target may come and go."""

    def plan(self) -> str:
        """Text of the load plan."""
        return load_plan(
            self.owner,
            self.spec,
            run=self.run,
            target_url=self.target_url,
            is_autoscaled=self.is_autoscaled,
            report=self.access,
        ).text()


def job(planned: PlannedRun, annotations: Mapping[str, str] | None = None) -> Object:
    """Job of a run's runner."""
    arguments = ["--role", "master"] if planned.spec.workers > 1 else []
    return _job(
        planned,
        job_name(planned.owner, planned.run),
        role=RUNNER,
        pods=1,
        pod={
            "serviceAccountName": planned.access,
            "automountServiceAccountToken": True,
            "containers": [_container(planned, arguments)],
        },
        annotations=annotations,
    )


def workers_job(planned: PlannedRun) -> Object:
    """Job of a run's workers, which make the load and talk to the runner only."""
    namespace = planned.owner["metadata"]["namespace"]
    master = f"{master_name(planned.owner)}.{namespace}.svc:{MASTER_PORT}"
    arguments = ["--role", "worker", "--master", master]
    return _job(
        planned,
        workers_name(planned.owner, planned.run),
        role=WORKER,
        pods=planned.spec.workers,
        pod={
            "automountServiceAccountToken": False,
            "containers": [_container(planned, arguments)],
        },
    )


def _job(
    planned: PlannedRun,
    name: str,
    *,
    role: str,
    pods: int,
    pod: Mapping[str, Any],
    annotations: Mapping[str, str] | None = None,
) -> Object:
    owner, spec, settings = planned.owner, planned.spec, planned.settings
    marks = {RUN_LABEL: planned.run, ROLE_LABEL: role}
    template = {
        "metadata": {"labels": {**labels(owner), **marks}, "annotations": STAYS},
        "spec": {
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": STOP_SECONDS,
            "securityContext": POD_SECURITY,
            "volumes": [SCRATCH_VOLUME, *_prompt_volumes(prompts_of(spec))],
            **pod,
        },
    }
    longest = longest_seconds(spec) + OVERHEAD_SECONDS + (WEB_UI_SECONDS if spec.web_ui else 0)
    return child(
        owner,
        "Job",
        name,
        more_labels=marks,
        annotations=annotations,
        spec={
            # A retry would mix two loads in one report; a lost run is reported as lost.
            "backoffLimit": 0,
            "completions": pods,
            "parallelism": pods,
            **({"completionMode": "Indexed"} if role == WORKER else {}),
            "activeDeadlineSeconds": int(longest),
            "template": with_runner_template(template, spec, settings),
        },
    )


def with_runner_template(template: Object, spec: LoadTestSpec, settings: Settings) -> Object:
    """Pod template with the chart's defaults and ``spec.podTemplate``.

    Raises:
        SpecError: The patch would cut the pod off from its run.
    """
    patch = spec.pod_template
    changes = patch.model_dump(mode="json", by_alias=True, exclude_unset=True) if patch else {}
    merged = patched(with_defaults(template, settings.pod_defaults), changes)
    guard_labels(template, merged)
    pod = merged.get("spec") or {}
    if all(each["name"] != CONTAINER for each in pod.get("containers") or ()):
        raise invalid(f"the patch removes container {CONTAINER!r}, which makes the load")
    if pod.get("restartPolicy") != "Never":
        raise invalid("restartPolicy must be Never: a second start would mix two loads")
    return merged


def is_over(job: Mapping[str, Any]) -> bool:
    """Whether the Job has ended, one way or the other."""
    ends = (condition_of(job, "Complete"), condition_of(job, "Failed"))
    return any(end is not None and end.is_true for end in ends)


def prompts_of(spec: LoadTestSpec) -> ConfigMapKey | None:
    """ConfigMap key of the prompts, or ``None``."""
    return spec.request.prompts.config_map_ref if spec.request.prompts else None


def _prompt_volumes(prompts: ConfigMapKey | None) -> list[Object]:
    if prompts is None:
        return []
    items = [{"key": prompts.key, "path": prompts.key}]
    return [{"name": "prompts", "configMap": {"name": prompts.name, "items": items}}]


def _container(planned: PlannedRun, arguments: list[str]) -> Object:
    spec, settings = planned.spec, planned.settings
    mounts = [SCRATCH_MOUNT]
    if prompts_of(spec) is not None:
        mounts = [*mounts, {"name": "prompts", "mountPath": PROMPTS_MOUNT, "readOnly": True}]
    variables: list[Object] = [{"name": "DIFFUSION_LOAD_PLAN", "value": unexpanded(planned.plan())}]
    if spec.auth is not None:
        # A variable shows a missing Secret in the pod's status and resolves itself; a volume would
        # wait silently.
        key = spec.auth.api_key_secret_ref
        reference = {"secretKeyRef": {"name": key.name, "key": key.key}}
        variables = [*variables, {"name": API_KEY_VARIABLE, "valueFrom": reference}]
    container = {
        "name": CONTAINER,
        "image": settings.images.loadtest,
        "imagePullPolicy": settings.images.pull_policy,
        "env": variables,
        "resources": resources(settings.runner_resources),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }
    if arguments:
        container["args"] = arguments
    return container
