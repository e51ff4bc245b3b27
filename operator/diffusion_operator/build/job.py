"""Job: one run of a load test."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.fields import seconds
from diffusion_operator.api.loadtest import ConfigMapKey, LoadTestSpec
from diffusion_operator.build.load_plan import PROMPTS_MOUNT, load_plan
from diffusion_operator.build.metadata import child, labels
from diffusion_operator.build.pods import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    SCRATCH_MOUNT,
    SCRATCH_VOLUME,
    resources,
)
from diffusion_operator.objects import RUN_LABEL, Object
from diffusion_operator.settings import Settings

CONTAINER = "locust"
# Waiting for the target, stopping, and writing the report to an API server that is away a while.
OVERHEAD_SECONDS = 600
STOP_SECONDS = 30


def job_name(owner: Mapping[str, Any], run: str) -> str:
    """Name of a run's Job; with a test's longest name it is 62 characters, a label's most is 63."""
    return f"{owner['metadata']['name']}-lt-{run}"


def job(
    owner: Mapping[str, Any],
    spec: LoadTestSpec,
    settings: Settings,
    *,
    run: str,
    target_url: str,
    access: str,
) -> Object:
    """The Job of one run; ``access`` names its ServiceAccount and its report's ConfigMap."""
    plan = load_plan(owner, spec, run=run, target_url=target_url, report=access)
    stages = spec.users.stages if spec.users else ()
    longest = sum(seconds(stage.duration) for stage in stages) + spec.request.timeout_seconds
    prompts = spec.request.prompts.config_map_ref if spec.request.prompts else None
    run_label = {RUN_LABEL: run}
    return child(
        owner,
        "batch/v1",
        "Job",
        job_name(owner, run),
        more_labels=run_label,
        spec={
            # A second try would mix two loads in one report; a lost run is reported as lost.
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": int(longest) + OVERHEAD_SECONDS,
            "template": {
                "metadata": {"labels": {**labels(owner), **run_label}},
                "spec": {
                    "serviceAccountName": access,
                    "automountServiceAccountToken": True,
                    "enableServiceLinks": False,
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": STOP_SECONDS,
                    "securityContext": POD_SECURITY,
                    "containers": [_runner(plan.model_dump_json(by_alias=True), settings, prompts)],
                    "volumes": [SCRATCH_VOLUME, *_prompt_volumes(prompts)],
                },
            },
        },
    )


def _prompt_volumes(prompts: ConfigMapKey | None) -> list[Object]:
    if prompts is None:
        return []
    items = [{"key": prompts.key, "path": prompts.key}]
    return [{"name": "prompts", "configMap": {"name": prompts.name, "items": items}}]


def _runner(plan: str, settings: Settings, prompts: ConfigMapKey | None) -> Object:
    mounts = [SCRATCH_MOUNT]
    if prompts is not None:
        mounts = [*mounts, {"name": "prompts", "mountPath": PROMPTS_MOUNT, "readOnly": True}]
    return {
        "name": CONTAINER,
        "image": settings.images.loadtest,
        "imagePullPolicy": settings.images.pull_policy,
        "env": [{"name": "DIFFUSION_LOAD_PLAN", "value": plan}],
        "resources": resources(settings.runner_resources),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }
