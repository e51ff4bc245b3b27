"""Rollback: a revision is given up, and the last good one comes back."""

import copy
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.rollout.rollback import (
    FailedRevision,
    can_serve_instead,
    failed_for_good,
    has_served,
    last_good,
    recorded_failure,
)
from diffusion_operator.diffusionservice.specs.deployment import (
    deployment,
    revision_of,
    with_template,
)
from diffusion_operator.diffusionservice.specs.last_good_revision import (
    good_revision,
    kept_claims,
    kept_templates,
)
from diffusion_operator.kube.workload import Workload
from diffusion_operator.settings import Settings

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"
FAILED = FailedRevision("bad", "ModelLoadFailed", "no model_index.json")


@pytest.fixture
def live(service: Object, settings: Settings) -> Object:
    spec = DiffusionServiceSpec.model_validate(service["spec"])
    manifest: Object = deployment(service, spec, settings)
    manifest["metadata"]["generation"] = 4
    manifest["status"] = {"observedGeneration": 4}
    return manifest


def pod(live: Object, *, restarts: int = 0, since: str = NOW, **state: Any) -> Object:
    container = {"name": "server", "image": "reg/x:1", "restartCount": restarts, **state}
    return {
        "metadata": {
            "name": "demo-1",
            "labels": {"diffusion.dev/revision": revision_of(live)},
            "creationTimestamp": since,
        },
        "status": {"containerStatuses": [container]},
    }


ENDED: Object = {"lastState": {"terminated": {"exitCode": 1}}}
NO_IMAGE: Object = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}


def test_a_pod_that_ended_three_times_is_given_up_and_no_sooner(live: Object) -> None:
    assert failed_for_good(live, [pod(live, restarts=2, **ENDED)], NOW) is None
    failed = failed_for_good(live, [pod(live, restarts=3, **ENDED)], NOW)
    assert failed is not None
    assert (failed.revision, failed.reason) == (revision_of(live), "CrashLooping")


def test_an_image_is_given_up_after_two_minutes(live: Object) -> None:
    assert failed_for_good(live, [pod(live, since="2026-01-02T03:03:00Z", **NO_IMAGE)], NOW) is None
    failed = failed_for_good(live, [pod(live, since="2026-01-02T03:02:00Z", **NO_IMAGE)], NOW)
    assert failed is not None
    assert failed.reason == "ImagePullFailed"


def test_a_revision_that_is_not_ready_in_time_is_given_up(live: Object) -> None:
    overdue = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    live["status"]["conditions"] = [overdue]
    failed = failed_for_good(live, [pod(live, state={"running": {}})], NOW)
    assert failed is not None
    assert failed.reason == "ProbeFailed"
    live["status"]["observedGeneration"] = 3  # the condition is about the revision before
    assert failed_for_good(live, [pod(live, state={"running": {}})], NOW) is None


def test_pods_of_another_revision_do_not_count(live: Object) -> None:
    other = pod(live, restarts=9, **ENDED)
    other["metadata"]["labels"]["diffusion.dev/revision"] = "old"
    assert failed_for_good(live, [other], NOW) is None


def ready_since(live: Object, since: str) -> Object:
    ready = pod(live)
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": since}
    ready["status"]["conditions"] = [condition]
    return ready


def test_a_revision_has_served_once_a_pod_of_it_answered_for_the_time_that_counts(
    service: Object, live: Object
) -> None:
    ready = ready_since(live, "2026-01-02T03:04:00Z")
    assert not has_served(service, live, [pod(live)], NOW, 5)
    assert has_served(service, live, [ready], NOW, 5)
    assert not has_served(service, live, [ready], NOW, 6)


def test_a_revision_that_was_ready_for_a_moment_has_not_served(
    service: Object, live: Object
) -> None:
    served = {**service, "status": {"revision": revision_of(live)}}
    moving = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
    live["status"]["conditions"] = [moving]
    crashed = pod(live, restarts=1, **ENDED)
    assert not has_served(served, live, [crashed], NOW, 10)
    live["status"]["conditions"] = [{**moving, "reason": "NewReplicaSetAvailable"}]
    assert has_served(served, live, [crashed], NOW, 10)
    assert not has_served(service, live, [], NOW, 10)


def test_restarts_of_a_sidecar_are_not_the_servers(live: Object) -> None:
    live["spec"]["template"]["spec"]["containers"].append({"name": "proxy"})
    crashing = pod(live)
    crashing["status"]["containerStatuses"].append(
        {"name": "proxy", "restartCount": 9, "ready": False, **ENDED}
    )
    assert failed_for_good(live, [crashing], NOW) is None
    crashing["status"]["containerStatuses"][0] |= {"restartCount": 3, **ENDED}
    assert failed_for_good(live, [crashing], NOW) is not None


def test_patience_with_a_pull_counts_from_its_begin(live: Object) -> None:
    waiting = pod(live, since="2026-01-02T02:00:00Z", **NO_IMAGE)
    node = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-02T03:03:00Z"}
    waiting["status"]["conditions"] = [node]
    assert failed_for_good(live, [waiting], NOW) is None
    fetched = {"state": {"terminated": {"exitCode": 0, "finishedAt": "2026-01-02T03:04:00Z"}}}
    node["lastTransitionTime"] = "2026-01-02T02:00:00Z"
    assert failed_for_good(live, [waiting], NOW) is not None
    waiting["status"]["initContainerStatuses"] = [fetched]
    assert failed_for_good(live, [waiting], NOW) is None


OVERDUE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}


def test_a_quota_that_refuses_the_pods_is_the_reason_in_the_end(live: Object) -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    live["status"]["conditions"] = [OVERDUE, refused]
    failed = failed_for_good(live, [], NOW)
    assert failed is not None
    assert (failed.reason, failed.message) == ("QuotaExceeded", "exceeded quota: gpus")


def test_a_pod_that_got_its_node_late_has_its_own_time_to_load(live: Object) -> None:
    live["status"]["conditions"] = [OVERDUE]
    loading = pod(live, since="2026-01-02T02:00:00Z", state={"running": {}})
    node = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-02T03:00:00Z"}
    loading["status"]["conditions"] = [node]
    assert failed_for_good(live, [loading], NOW) is None
    node["lastTransitionTime"] = "2026-01-02T02:00:00Z"
    assert failed_for_good(live, [loading], NOW) is not None


def test_the_last_good_template_comes_back_unchanged_with_a_note_on_the_failure(
    service: Object, live: Object, settings: Settings
) -> None:
    good = good_revision(service, live, 1)
    changed = {**service["spec"], "model": {"source": "image:///models/none"}}
    built = deployment(service, DiffusionServiceSpec.model_validate(changed), settings)
    before = copy.deepcopy(built)
    assert can_serve_instead(good, built)
    assert not can_serve_instead(good, live)
    back = with_template(built, kept_templates(good)["demo"], FAILED.text())
    assert back["spec"]["template"] == live["spec"]["template"]
    assert recorded_failure(Workload.of_deployment(back)) == FAILED
    digest = "diffusion.dev/applied-digest"
    assert back["metadata"]["annotations"][digest] != built["metadata"]["annotations"][digest]
    assert built == before
    assert recorded_failure(Workload.of_deployment(built)) is None


def test_a_note_that_someone_else_wrote_is_ignored(live: Object) -> None:
    live["metadata"]["annotations"]["diffusion.dev/rolled-back-from"] = "{"
    assert recorded_failure(Workload.of_deployment(live)) is None


def test_the_newest_kept_revision_counts_and_names_its_claims(
    service: Object, live: Object
) -> None:
    claim = {"name": "store", "persistentVolumeClaim": {"claimName": "demo-models"}}
    live["spec"]["template"]["spec"]["volumes"].append(claim)
    kept = [good_revision(service, live, number) for number in (2, 11, 10)]
    assert last_good(kept) is kept[1]
    assert last_good([]) is None
    assert kept_claims(kept[0]) == {"demo-models"}
