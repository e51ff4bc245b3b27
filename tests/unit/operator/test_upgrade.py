"""Upgrades: a new release changes the pods of a few services at a time."""

from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.rollout.upgrade import (
    UpgradeTurns,
    is_from_release,
    is_rolling,
)
from diffusion_operator.diffusionservice.specs.deployment import (
    deployment,
    kept,
    revision_of,
    with_template,
)
from diffusion_operator.diffusionservice.specs.ray_service import (
    kept_ray_service,
    ray_service,
    workers_of,
    workers_revision,
)
from diffusion_operator.diffusionservice.specs.upgrade_mark import marked
from diffusion_operator.settings import Images, Rollouts, Settings

Object = dict[str, Any]
READY: Object = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def named(service: Object, name: str) -> Object:
    return {**service, "metadata": {**service["metadata"], "name": name}}


def built(service: Object, settings: Settings, release: int, **changes: Any) -> Object:
    """The service's Deployment as that release of the operator builds it."""
    images = Images(loadtest="x", backends={"fastapi": f"reg/fastapi:{release}"})
    owner = {**service, "spec": {**service["spec"], **changes}}
    spec = DiffusionServiceSpec.model_validate(owner["spec"])
    return marked(deployment(owner, spec, settings.model_copy(update={"images": images})), owner)


def live(manifest: Object, reason: str = "NewReplicaSetAvailable") -> Object:
    """The Deployment as its controller reports it."""
    moving = {"type": "Progressing", "status": "True", "reason": reason}
    metadata = {**manifest["metadata"], "generation": 1}
    return {
        **manifest,
        "metadata": metadata,
        "status": {"observedGeneration": 1, "conditions": [moving]},
    }


class Deployments:
    """Cache of the Deployments of a cluster."""

    def __init__(self) -> None:
        self.live: list[Object] = []

    def all(self, kind: str) -> list[Object]:
        return [each for each in self.live if each["kind"] == kind]


class Scene:
    """Five services of the first release, under an operator of the second."""

    def __init__(self, service: Object, settings: Settings, **rollouts: Any) -> None:
        self.cache = Deployments()
        self.now = 0.0
        self.services = [named(service, f"demo-{number}") for number in range(5)]
        self.desired = [built(each, settings, release=2) for each in self.services]
        self.cache.live = [live(built(each, settings, release=1)) for each in self.services]
        self.turns = UpgradeTurns(self.cache, Rollouts(**rollouts), lambda: self.now)  # type: ignore[arg-type] # a stand-in by shape

    def waits(self, number: int, pods: list[Object] | None = None, *, begun: bool = False) -> bool:
        self.now += 2
        ready = [READY] if pods is None else pods
        observed = self.cache.live[number]
        owner, desired = self.services[number], self.desired[number]
        return self.turns.waits(owner, desired, observed, ready, begun=begun)

    def roll(self, number: int, reason: str) -> None:
        self.cache.live[number] = live(self.desired[number], reason)


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(service, settings, max_concurrent_upgrades=2)


def test_a_release_rolls_two_of_five_services_out_at_a_time(scene: Scene) -> None:
    assert [scene.waits(number) for number in range(5)] == [False, False, True, True, True]
    assert not scene.waits(0), "a turn lasts until the pods have changed"
    scene.roll(0, "ReplicaSetUpdated")
    assert not scene.waits(0)
    assert scene.waits(2)
    scene.roll(0, "NewReplicaSetAvailable")
    assert not scene.waits(2)
    assert scene.waits(3)


def test_a_rollout_that_is_overdue_or_deleted_gives_its_turn_back(scene: Scene) -> None:
    scene.waits(0), scene.waits(1)
    scene.roll(0, "ProgressDeadlineExceeded")
    scene.waits(0)
    assert not scene.waits(2)
    scene.turns.forget(("Deployment", "shop", "demo-1"))  # type: ignore[arg-type] # a key by value
    assert not scene.waits(3)


def test_another_operator_sees_the_rollouts_that_the_last_one_began(
    service: Object, settings: Settings
) -> None:
    scene = Scene(service, settings, max_concurrent_upgrades=2)
    scene.roll(0, "ReplicaSetUpdated")
    scene.roll(1, "ReplicaSetUpdated")
    assert scene.waits(2)


def test_a_service_without_a_ready_pod_waits_for_no_turn(scene: Scene) -> None:
    scene.waits(0), scene.waits(1)
    assert not scene.waits(2, pods=[])


def test_services_keep_their_pods_until_their_next_change_if_the_settings_say_so(
    service: Object, settings: Settings
) -> None:
    scene = Scene(service, settings, upgrade="OnNextChange")
    assert scene.waits(0)
    assert scene.turns.again() is None
    assert "next change of the spec" in scene.turns.pending().message
    changed = {**service["spec"], "generation": {"steps": 9}}
    scene.services[0]["spec"] = changed
    scene.desired[0] = built(scene.services[0], settings, release=2)
    assert not scene.waits(0)


def test_a_service_that_has_begun_goes_on_whatever_the_settings_say(
    service: Object, settings: Settings
) -> None:
    scene = Scene(service, settings, upgrade="OnNextChange")
    assert not scene.waits(0, begun=True)


def test_a_scaled_service_of_another_release_has_not_changed_its_pods_itself(
    service: Object, settings: Settings
) -> None:
    observed = live(built(service, settings, release=1))
    scaled = {**service, "spec": {**service["spec"], "replicas": 5}}
    assert is_from_release(scaled, built(scaled, settings, release=2), observed)
    other = {**service, "spec": {**service["spec"], "compile": "full"}}
    assert not is_from_release(other, built(other, settings, release=2), observed)


def test_the_status_tells_which_spec_an_older_release_has_applied(
    service: Object, settings: Settings
) -> None:
    observed = live(built(service, settings, release=1))
    del observed["metadata"]["annotations"]["diffusion.dev/spec-digest"]
    desired = built(service, settings, release=2)
    assert is_from_release({**service, "status": {"observedGeneration": 3}}, desired, observed)
    assert not is_from_release({**service, "status": {"observedGeneration": 2}}, desired, observed)


def test_a_revision_that_failed_is_no_change_of_the_release(
    service: Object, settings: Settings
) -> None:
    desired = built(service, settings, release=2)
    good = built(service, settings, release=1)["spec"]["template"]
    note = f'["{revision_of(desired)}", "ModelLoadFailed", "none"]'
    back = live(with_template(desired, good, note))
    assert not is_from_release(service, desired, back)
    newer = built(service, settings, release=3)
    assert is_from_release(service, newer, back)
    still = kept(newer, back)
    assert still["metadata"]["annotations"]["diffusion.dev/rolled-back-from"] == note
    assert still["spec"]["template"] == good


def test_an_image_of_its_own_keeps_a_service_out_of_every_release(
    service: Object, settings: Settings
) -> None:
    pinned = "reg/mine@sha256:1"
    first = built(service, settings, release=1, image=pinned)
    assert first["spec"]["template"]["spec"]["containers"][0]["image"] == pinned
    assert first == built(service, settings, release=2, image=pinned)


@pytest.mark.parametrize(
    ("reason", "rolling"),
    [
        ("ReplicaSetUpdated", True),
        ("NewReplicaSetAvailable", False),
        ("ProgressDeadlineExceeded", False),
    ],
)
def test_the_deployments_own_condition_says_whether_it_rolls_out(
    service: Object, settings: Settings, reason: str, *, rolling: bool
) -> None:
    assert is_rolling(live(built(service, settings, release=1), reason)) == rolling


def test_a_ray_cluster_keeps_its_pods_and_gets_its_replicas_while_it_waits(
    service: Object, settings: Settings
) -> None:
    cluster = {"backend": "rayserve", "rayserve": {"topology": "cluster"}}

    def made(release: int, replicas: int) -> Object:
        images = Images(loadtest="x", backends={"rayserve": f"reg/ray:{release}"})
        owner = {**service, "spec": {**service["spec"], **cluster, "replicas": replicas}}
        spec = DiffusionServiceSpec.model_validate(owner["spec"])
        of_release = settings.model_copy(update={"images": images})
        return marked(ray_service(owner, spec, of_release), owner)

    scene = Scene(service, settings, max_concurrent_upgrades=1)
    pending = {"status": {"pendingServiceStatus": {"rayClusterName": "demo-2"}}}
    other = made(release=2, replicas=2)
    scene.cache.live = [{**other, "metadata": {**other["metadata"], "name": "other"}, **pending}]
    observed, desired = made(release=1, replicas=2), made(release=2, replicas=3)
    owner = {**service, "spec": {**service["spec"], **cluster, "replicas": 3}}
    assert scene.turns.waits(owner, desired, observed, [READY], revision=workers_revision)
    still = kept_ray_service(desired, observed)
    assert workers_revision(still) == workers_revision(observed) != workers_revision(desired)
    assert workers_of(still)["replicas"] == workers_of(still)["maxReplicas"] == 3
    scene.cache.live, scene.now = [], 10
    assert not scene.turns.waits(owner, desired, observed, [READY], revision=workers_revision)
