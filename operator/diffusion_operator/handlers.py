"""What kopf calls: indices that hold what is watched, and events that wake a reconciler.

Only low-level event handlers are used: they write nothing to the objects (no finalizer, no
annotation), so a resource can be deleted, and stays as its author wrote it, with or without us.
"""

from typing import Any

import kopf

from diffusion_operator.api import API_VERSION, GROUP, VERSION
from diffusion_operator.cache import Cache, trimmed
from diffusion_operator.cluster import Cluster
from diffusion_operator.controller import Controller
from diffusion_operator.election import Candidate
from diffusion_operator.objects import (
    CANDIDATE_LABEL,
    COMPARISON_LABEL,
    HEAD_LABEL,
    SERVICE_LABEL,
    TEST_LABEL,
    WATCHED_LABEL,
    Object,
    labels_of,
    target_of,
)
from diffusion_operator.settings import read_settings
from diffusion_operator.unstored import NoDiffBase, NoProgress

RBAC = "rbac.authorization.k8s.io"

# kind → (group, version, plural)
OWNED = {
    "Deployment": ("apps", "v1", "deployments"),
    "ControllerRevision": ("apps", "v1", "controllerrevisions"),
    "Service": ("", "v1", "services"),
    "ServiceAccount": ("", "v1", "serviceaccounts"),
    "PersistentVolumeClaim": ("", "v1", "persistentvolumeclaims"),
    "ConfigMap": ("", "v1", "configmaps"),
    "Role": (RBAC, "v1", "roles"),
    "RoleBinding": (RBAC, "v1", "rolebindings"),
    "PodDisruptionBudget": ("policy", "v1", "poddisruptionbudgets"),
    "Ingress": ("networking.k8s.io", "v1", "ingresses"),
    "NetworkPolicy": ("networking.k8s.io", "v1", "networkpolicies"),
    "HorizontalPodAutoscaler": ("autoscaling", "v2", "horizontalpodautoscalers"),
    "ScaledObject": ("keda.sh", "v1alpha1", "scaledobjects"),
    "HTTPRoute": ("gateway.networking.k8s.io", "v1", "httproutes"),
    "Job": ("batch", "v1", "jobs"),
    "Pod": ("", "v1", "pods"),
}
PRIMARY = {
    "DiffusionService": (GROUP, VERSION, "diffusionservices"),
    "LoadTest": (GROUP, VERSION, "loadtests"),
    "Comparison": (GROUP, VERSION, "comparisons"),
}
WATCHED = {**PRIMARY, **OWNED}

Indexed = dict[tuple[str, str], Object]


def _api_version(kind: str) -> str:
    group, version, _ = WATCHED[kind]
    return f"{group}/{version}" if group else version


def _place(obj: kopf.Body, name: str) -> tuple[str, str]:
    return str(obj["metadata"]["namespace"]), name


def _index_by_name(kind: str) -> None:
    async def remember(body: kopf.Body, **_: Any) -> Indexed:
        return {_place(body, body["metadata"]["name"]): trimmed(body, kind, _api_version(kind))}

    kopf.index(*WATCHED[kind], id=kind)(remember)


for _kind in WATCHED:
    if _kind != "Pod":  # a pod is only ever asked for by its owner
        _index_by_name(_kind)


@kopf.index(*OWNED["Pod"], id="pods_by_owner")
async def pods_by_owner(body: kopf.Body, **_: Any) -> Indexed | None:
    labels = labels_of(body)
    owner = labels.get(SERVICE_LABEL) or labels.get(TEST_LABEL) or labels.get(HEAD_LABEL)
    owner = owner or labels.get(CANDIDATE_LABEL)
    return {_place(body, owner): trimmed(body, "Pod", "v1")} if owner else None


@kopf.index(*OWNED["Job"], id="jobs_by_test")
async def jobs_by_test(body: kopf.Body, **_: Any) -> Indexed | None:
    owner = labels_of(body).get(TEST_LABEL)
    return {_place(body, owner): trimmed(body, "Job", "batch/v1")} if owner else None


@kopf.index(*OWNED["ControllerRevision"], id="revisions_by_service")
async def revisions_by_service(body: kopf.Body, **_: Any) -> Indexed | None:
    owner = labels_of(body).get(SERVICE_LABEL)
    kept = trimmed(body, "ControllerRevision", "apps/v1")
    return {_place(body, owner): kept} if owner else None


@kopf.index(*PRIMARY["LoadTest"], id="tests_by_target")
async def tests_by_target(body: kopf.Body, **_: Any) -> Indexed | None:
    target = target_of(body)
    return {_place(body, target): trimmed(body, "LoadTest", API_VERSION)} if target else None


def _index_compared(kind: str) -> None:
    async def remember(body: kopf.Body, **_: Any) -> Indexed:
        owner = labels_of(body)[COMPARISON_LABEL]
        return {_place(body, owner): trimmed(body, kind, API_VERSION)}

    kopf.index(*PRIMARY[kind], id="compared", labels={COMPARISON_LABEL: kopf.PRESENT})(remember)


for _kind in ("DiffusionService", "LoadTest"):  # one index for both
    _index_compared(_kind)


def _wake_on_events(kind: str) -> None:
    async def seen(event: kopf.RawEvent, body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
        controller: Controller = memo.controller
        said = event["type"]
        controller.saw(kind, body, deleted=said == "DELETED", listed=said is None)

    kopf.on.event(*WATCHED[kind], id=f"wake-{kind}")(seen)


for _kind in WATCHED:
    _wake_on_events(_kind)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **indices: Any) -> None:
    settings.posting.enabled = False  # events are for people, and said by the reconcilers
    settings.scanning.disabled = True  # all kinds are known: no need to watch for new CRDs
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.watching.server_timeout = 300
    for group, _, plural in OWNED.values():
        kind = f"{plural}.{group}" if group else plural
        settings.watching.label_selectors[kind] = WATCHED_LABEL
    cache = Cache(
        {kind: indices[kind] for kind in WATCHED if kind != "Pod"},
        pods=indices["pods_by_owner"],
        jobs=indices["jobs_by_test"],
        tests=indices["tests_by_target"],
        compared=indices["compared"],
        revisions=indices["revisions_by_service"],
    )
    cluster = await Cluster.connect()
    memo.controller = Controller(cluster, cache, read_settings(), memo.namespaces)
    if memo.lease:
        memo.candidate = Candidate(
            cluster.api, memo.lease, lead=memo.controller.start, lose=memo.stop.set
        )
        memo.candidate.start()
    else:
        memo.controller.start()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    await memo.controller.finish()
    if memo.lease:
        await memo.candidate.resign()
    await memo.controller.close()
