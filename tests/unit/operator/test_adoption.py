"""Children that ``kubectl delete --cascade=orphan`` left, and names that someone else has."""

import copy
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.diffusionservice.specs.service import service as build_service
from diffusion_operator.kube.applier import Applier, LeftoverError, NameTakenError
from diffusion_operator.kube.objects import key_of
from diffusion_operator.kube.service_account import service_account
from diffusion_operator.settings import Settings
from recording_cluster import RecordingCluster, cache_of

Object = dict[str, Any]
KINDS = ("Deployment", "Service", "ServiceAccount")


@pytest.fixture
def children(service: Object, settings: Settings) -> list[Object]:
    spec = DiffusionServiceSpec.model_validate(service["spec"])
    built = [deployment(service, spec, settings), build_service(service, spec)]
    return [*built, service_account(service, "demo")]


def left(child: Object, **metadata: Any) -> Object:
    """The child as it is in the cluster without its owner."""
    observed = copy.deepcopy(child)
    del observed["metadata"]["ownerReferences"]
    observed["metadata"] |= {"uid": f"left-{child['kind']}", "resourceVersion": "5", **metadata}
    return observed


async def test_children_that_nobody_owns_are_taken_up(
    service: Object, children: list[Object]
) -> None:
    *desired, account = children
    cluster = RecordingCluster(service, *map(left, children))
    applier = Applier(cluster, cache_of(*KINDS))  # type: ignore[arg-type] # a stand-in by shape
    await applier.apply(service, desired, after=[account])
    for child in children:
        (owner,) = cluster.objects[key_of(child)]["metadata"]["ownerReferences"]
        assert owner["uid"] == service["metadata"]["uid"]
    assert cluster.created == []


async def test_a_child_that_is_written_once_gets_its_owner_and_nothing_else(
    service: Object, children: list[Object]
) -> None:
    (once, *_) = children
    orphan = left(once)
    orphan["spec"]["replicas"] = 7
    cluster, cache = RecordingCluster(service, orphan), cache_of(*KINDS)
    cache.record_write(orphan)
    applier = Applier(cluster, cache)  # type: ignore[arg-type] # a stand-in by shape
    made = await applier.create_once(service, once)
    assert made["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"]
    assert (made["spec"]["replicas"], cluster.applied) == (7, [])


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {}},
        {"labels": {"app.kubernetes.io/managed-by": "diffusion-operator"}},
        {"ownerReferences": [{"kind": "ReplicaSet", "name": "x", "uid": "u-9"}]},
    ],
)
async def test_an_object_with_other_labels_or_an_owner_is_not_taken_up(
    service: Object, children: list[Object], metadata: Object
) -> None:
    cluster = RecordingCluster(left(children[1], **metadata))
    applier = Applier(cluster, cache_of(*KINDS))  # type: ignore[arg-type] # a stand-in by shape
    with pytest.raises(NameTakenError, match="Service demo exists and is not"):
        await applier.apply(service, [children[1]])
    assert cluster.applied == []


async def test_all_names_that_are_taken_are_named_at_once(
    service: Object, children: list[Object]
) -> None:
    *desired, account = children
    cluster = RecordingCluster(*(left(child, labels={}) for child in children))
    applier = Applier(cluster, cache_of(*KINDS))  # type: ignore[arg-type] # a stand-in by shape
    sentence = (
        "ServiceAccount demo, Deployment demo and Service demo exist and are not this "
        "DiffusionService's: delete them"
    )
    with pytest.raises(NameTakenError, match=sentence):
        await applier.apply(service, desired, after=[account])
    assert (cluster.created, cluster.applied) == ([], [])


@pytest.mark.parametrize("deleted", ["gone", "another", "going"])
async def test_a_deleted_owner_takes_nothing_up(
    service: Object, children: list[Object], deleted: str
) -> None:
    """Its deletion may orphan the children before its own event comes."""
    later = {"uid": "another"} if deleted == "another" else {"deletionTimestamp": "2026-01-02"}
    current = {**service, "metadata": {**service["metadata"], **later}}
    owners = [] if deleted == "gone" else [current]
    orphan = left(children[1])
    cluster, cache = RecordingCluster(*owners, orphan), cache_of(*KINDS)
    applier = Applier(cluster, cache)  # type: ignore[arg-type] # a stand-in by shape
    with pytest.raises(LeftoverError):
        await applier.apply(service, children[1:2])
    assert await applier.adopt(service, orphan) == orphan
    assert (cluster.applied, cluster.patched) == ([], [])
