"""Writes of the applier, and the cases in which it writes nothing."""

import asyncio
import copy
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec, DiffusionServiceStatus
from diffusion_operator.api.status import Condition
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.diffusionservice.specs.pod_disruption_budget import disruption_budget
from diffusion_operator.kube.applier import Applier, LeftoverError, NameTakenError
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError
from diffusion_operator.kube.difference import is_up_to_date
from diffusion_operator.kube.objects import key_of
from diffusion_operator.kube.service_account import service_account
from diffusion_operator.loadtest.specs.runner_access import report_config_map, role, role_binding
from diffusion_operator.settings import Settings
from recording_cluster import RecordingCluster, cache_of

Object = dict[str, Any]


def empty_cache() -> Cache:
    return cache_of("Deployment", "DiffusionService")


@pytest.fixture
def desired(service: Object, settings: Settings) -> Object:
    spec = DiffusionServiceSpec.model_validate(service["spec"])
    return deployment(service, spec, settings)


def live_of(desired: Object) -> Object:
    """The object as the API server shows it: defaults, status and others' additions in it."""
    live = copy.deepcopy(desired)
    live["metadata"] |= {"resourceVersion": "5", "uid": "d-1"}
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    live["status"] = {"replicas": 2}
    pod = live["spec"]["template"]["spec"]
    pod["dnsPolicy"] = "ClusterFirst"
    pod["containers"].insert(0, {"name": "injected-sidecar", "image": "mesh:1"})
    return live


def test_fields_that_others_add_are_left_alone(desired: Object) -> None:
    assert is_up_to_date(desired, live_of(desired))


def test_fields_that_others_change_are_applied_again(desired: Object) -> None:
    live = live_of(desired)
    live["spec"]["template"]["spec"]["containers"][1]["image"] = "other:1"
    assert not is_up_to_date(desired, live)
    live = live_of(desired)
    live["spec"]["replicas"] = 9
    assert not is_up_to_date(desired, live)


def test_a_field_that_the_builder_no_longer_sets_is_noticed(
    service: Object, settings: Settings
) -> None:
    spec = DiffusionServiceSpec.model_validate({**service["spec"], "gpu": {"type": "nvidia-l4"}})
    with_gpu = deployment(service, spec, settings)
    without = deployment(service, DiffusionServiceSpec.model_validate(service["spec"]), settings)
    live = live_of(with_gpu)
    live["spec"]["template"] = {  # all desired fields are there, and a node selector besides
        **live["spec"]["template"],
        "metadata": without["spec"]["template"]["metadata"],
    }
    assert not is_up_to_date(without, live)


async def test_a_second_apply_writes_nothing(service: Object, desired: Object) -> None:
    cluster = RecordingCluster()
    applier = Applier(cluster, empty_cache())  # type: ignore[arg-type] # a stand-in by shape
    await applier.apply(service, [desired])
    await applier.apply(service, [desired])
    assert (len(cluster.created), cluster.applied) == (1, [])


def foreign_of(child: Object) -> Object:
    """An object of someone else with the child's name."""
    return {**child, "metadata": {**child["metadata"], "ownerReferences": [], "labels": {}}}


async def test_an_object_of_someone_else_is_never_taken_over(
    service: Object, desired: Object
) -> None:
    foreign = live_of(desired)
    foreign["metadata"] |= {"ownerReferences": [], "labels": {}}
    cluster = RecordingCluster(foreign)
    applier = Applier(cluster, empty_cache())  # type: ignore[arg-type] # a stand-in by shape
    with pytest.raises(NameTakenError, match="give the DiffusionService another name"):
        await applier.apply(service, [desired])
    assert cluster.applied == []


def cache_with_accounts() -> Cache:
    return cache_of("Deployment", "ServiceAccount")


async def test_a_child_is_created_after_the_objects_that_it_needs_at_its_start(
    service: Object, desired: Object
) -> None:
    class SlowCluster(RecordingCluster):
        async def create(self, obj: Object) -> Object | None:
            if obj["kind"] == "ServiceAccount":
                for _ in range(5):
                    await asyncio.sleep(0)
                assert self.created == []
            return await super().create(obj)

    cluster = SlowCluster()
    applier = Applier(cluster, cache_with_accounts())  # type: ignore[arg-type] # a stand-in by shape
    (made,) = await applier.apply(service, [desired], after=[service_account(service, "demo")])
    assert [obj["kind"] for obj in cluster.created] == ["ServiceAccount", "Deployment"]
    assert made["kind"] == "Deployment"


async def test_the_fields_of_a_created_object_are_owned_before_it_is_changed(
    service: Object, desired: Object
) -> None:
    cluster = RecordingCluster()
    applier = Applier(cluster, cache_with_accounts())  # type: ignore[arg-type] # a stand-in by shape
    before = service_account(service, "demo", {"cloud/identity": "painter"})
    for _ in range(2):
        await applier.apply(service, [desired], after=[before])
    assert cluster.owned == []
    after = service_account(service, "demo")
    await applier.apply(service, [desired], after=[after])
    assert cluster.owned == [key_of(after)]
    assert [obj["kind"] for obj in cluster.applied] == ["ServiceAccount"]


async def test_an_object_that_others_wait_for_is_not_taken_over_either(
    service: Object, desired: Object
) -> None:
    account = service_account(service, "demo")
    foreign = foreign_of(account)
    cluster = RecordingCluster(foreign)
    applier = Applier(cluster, cache_with_accounts())  # type: ignore[arg-type] # a stand-in by shape
    with pytest.raises(NameTakenError, match="ServiceAccount demo"):
        await applier.apply(service, [desired], after=[account])
    assert (cluster.created, cluster.applied) == ([], [])


async def test_no_pods_are_made_where_another_child_cannot_be_made(
    service: Object, desired: Object
) -> None:
    budget = disruption_budget(service)
    foreign = foreign_of(budget)
    cluster = RecordingCluster(foreign)
    cache = cache_of("Deployment", "PodDisruptionBudget")
    applier = Applier(cluster, cache)  # type: ignore[arg-type] # a stand-in by shape
    with pytest.raises(NameTakenError):
        await applier.apply(service, [desired, budget])
    assert (cluster.created, cluster.applied) == ([], [])


class Refusing(RecordingCluster):
    """A cluster that refuses objects of one kind, and records deleted ones."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.deleted: list[Object] = []

    async def apply(self, obj: Object) -> Object:
        if obj["kind"] == self.kind:
            raise ApiError(422, "Unprocessable Entity", "no", None)
        return await super().apply(obj)

    async def delete(self, obj: Object) -> None:
        self.deleted.append(obj)


async def test_a_role_exists_before_its_binding(loadtest: Object) -> None:
    class SlowRoles(RecordingCluster):
        async def apply(self, obj: Object) -> Object:
            if obj["kind"] == "Role":
                for _ in range(5):
                    await asyncio.sleep(0)
            return await super().apply(obj)

    cluster, cache = SlowRoles(), cache_of("Role", "RoleBinding", "ConfigMap", "Job")
    applier = Applier(cluster, cache)  # type: ignore[arg-type] # a stand-in by shape
    builders = (role_binding, report_config_map, role)
    made = await applier.apply(loadtest, [build(loadtest, "a") for build in builders])
    assert [each["kind"] for each in cluster.applied] == ["ConfigMap", "Role", "RoleBinding"]
    assert [each["kind"] for each in made] == ["RoleBinding", "ConfigMap", "Role"]


async def test_an_object_to_prune_stays_until_its_replacement_is_made(
    service: Object, desired: Object
) -> None:
    cluster, cache = Refusing("PodDisruptionBudget"), cache_of("Deployment", "PodDisruptionBudget")
    applier = Applier(cluster, cache)  # type: ignore[arg-type] # a stand-in by shape
    budget, key = disruption_budget(service), key_of(desired)
    await applier.apply(service, [desired])
    with pytest.raises(ApiError):
        await applier.apply(service, [budget], prune=[key])
    assert cluster.deleted == []
    cluster.kind = ""
    await applier.apply(service, [budget], prune=[key])
    assert list(map(key_of, cluster.deleted)) == [key]


async def test_nothing_else_changes_where_an_object_that_comes_ahead_cannot_be_made(
    service: Object, desired: Object
) -> None:
    cluster, cache = Refusing("PodDisruptionBudget"), cache_of("Deployment", "PodDisruptionBudget")
    applier = Applier(cluster, cache)  # type: ignore[arg-type] # a stand-in by shape
    budget = disruption_budget(service)
    with pytest.raises(ApiError):
        await applier.apply(service, [desired], ahead=[budget])
    assert (cluster.created, cluster.applied) == ([], [])
    cluster.kind = ""
    made = await applier.apply(service, [desired], ahead=[budget])
    assert [obj["kind"] for obj in made] == ["PodDisruptionBudget", "Deployment"]


async def test_a_child_of_a_deleted_namesake_is_waited_for(
    service: Object, desired: Object
) -> None:
    leftover = live_of(desired)
    leftover["metadata"]["ownerReferences"][0]["uid"] = "an-older-uid"
    applier = Applier(RecordingCluster(leftover), empty_cache())  # type: ignore[arg-type] # a stand-in by shape
    with pytest.raises(LeftoverError):
        await applier.apply(service, [desired])


def shown_as(owner: Object, cluster: RecordingCluster) -> Object:
    """The owner as it is once its latest status is written."""
    return {**owner, "status": cluster.statuses[-1]["status"]}


def status_of(reason: str, replicas: int) -> DiffusionServiceStatus:
    ready = Condition(
        type="Ready",
        status="Unknown",
        reason=reason,
        message="",
        observed_generation=1,
        last_transition_time="2026-01-02T03:04:05Z",
    )
    return DiffusionServiceStatus(conditions=(ready,), replicas=replicas)


async def test_small_changes_of_a_status_become_one_write(service: Object) -> None:
    now = 100.0
    cluster = RecordingCluster()
    applier = Applier(cluster, empty_cache(), clock=lambda: now)  # type: ignore[arg-type] # a stand-in by shape

    assert await applier.apply_status(service, status_of("RollingOut", 0)) == pytest.approx(0.5)
    now += 0.2
    assert await applier.apply_status(service, status_of("RollingOut", 1)) == pytest.approx(0.3)
    now += 0.4
    assert await applier.apply_status(service, status_of("RollingOut", 1)) is None
    service = shown_as(service, cluster)
    assert await applier.apply_status(service, status_of("RollingOut", 1)) is None
    assert await applier.apply_status(service, status_of("ImagePullFailed", 1)) == pytest.approx(
        0.5
    )
    now += 0.5
    assert await applier.apply_status(service, status_of("ImagePullFailed", 1)) is None
    assert len(cluster.statuses) == 2


async def test_the_first_status_waits_a_while_until_it_has_settled(
    service: Object,
) -> None:
    now = 100.0
    cluster = RecordingCluster()
    applier = Applier(cluster, empty_cache(), clock=lambda: now)  # type: ignore[arg-type] # a stand-in by shape

    async def is_written(replicas: int, *, settled: bool) -> bool:
        left = await applier.apply_status(
            service, status_of("RollingOut", replicas), settled=settled
        )
        return left is None

    assert not await is_written(0, settled=False)
    now += 1.0
    assert not await is_written(0, settled=False)
    assert await is_written(1, settled=True)
    service = shown_as(service, cluster)
    now += 0.5  # later statuses do not wait
    assert await is_written(2, settled=False)


async def test_a_first_status_that_never_settles_is_written_at_last(service: Object) -> None:
    now = 100.0
    cluster = RecordingCluster()
    applier = Applier(cluster, empty_cache(), clock=lambda: now)  # type: ignore[arg-type] # a stand-in by shape
    status = status_of("RollingOut", 0)
    assert await applier.apply_status(service, status, settled=False) == pytest.approx(2.0)
    now += 2.0
    assert await applier.apply_status(service, status, settled=False) is None


def failing(reason: str) -> DiffusionServiceStatus:
    ready = status_of(reason, 0).conditions[0].model_copy(update={"status": "False"})
    return DiffusionServiceStatus(conditions=(ready,))


async def test_an_event_reports_each_new_failure_once(service: Object) -> None:
    now = 100.0
    cluster = RecordingCluster()
    applier = Applier(cluster, empty_cache(), clock=lambda: now)  # type: ignore[arg-type] # a stand-in by shape
    reasons = ["CrashLooping", "CrashLooping", "ImagePullFailed", "Suspended"]
    for replicas, reason in enumerate(reasons):
        status = failing(reason).model_copy(update={"replicas": replicas})
        await applier.apply_status(service, status)
        now += 1
        await applier.apply_status(service, status)
        service = shown_as(service, cluster)
        now += 1
    assert [event["reason"] for event in cluster.created] == ["CrashLooping", "ImagePullFailed"]
    assert len({event["metadata"]["name"] for event in cluster.created}) == 2
    assert cluster.created[0]["involvedObject"]["uid"] == service["metadata"]["uid"]


def test_a_quantity_is_the_same_however_it_is_written(desired: Object) -> None:
    live = live_of(desired)
    resources = live["spec"]["template"]["spec"]["containers"][1]["resources"]
    resources["requests"]["cpu"] = "0.5"
    assert is_up_to_date(desired, live)
    resources["requests"]["cpu"] = "0.6"
    assert not is_up_to_date(desired, live)
