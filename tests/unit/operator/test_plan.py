"""The plan of a rollout: surge or in place, gate or none, now or later."""

# ruff: noqa: ARG002 - the stand-ins have the signatures of what they replace

from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.rollout.plan import Plan, Rollout
from diffusion_operator.diffusionservice.rollout.upgrade import UpgradeTurns
from diffusion_operator.diffusionservice.specs.deployment import (
    IN_PLACE,
    SURGE,
    deployment,
    revision_of,
)
from diffusion_operator.diffusionservice.specs.last_good_revision import good_revision
from diffusion_operator.kube.objects import Key, key_of
from diffusion_operator.settings import Settings

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"
LACKING = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
LOAD: Object = {"users": {"stages": [{"users": 1, "duration": "5s"}]}, "slo": {"p95": "8s"}}


class Scene:
    """A service with its live Deployment and pods, in place of the cluster's cache and client."""

    def __init__(self, service: Object, settings: Settings) -> None:
        self.service = service
        self.settings = settings
        self.live: Object | None = None
        self.pods: list[Object] = []
        self.good: list[Object] = []
        self.events: list[Object] = []

    def set_live(self, **spec: Any) -> None:
        """Makes the Deployment of that spec the live one, whose rollout is complete."""
        owner = {**self.service, "spec": {**self.service["spec"], **spec}}
        read = DiffusionServiceSpec.model_validate(owner["spec"])
        built = deployment(owner, read, self.settings)
        complete = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
        status = {"observedGeneration": 1, "conditions": [complete]}
        self.live = {
            **built,
            "metadata": {**built["metadata"], "generation": 1},
            "status": status,
        }
        self.service = {**owner, "status": {"revision": revision_of(built)}}

    def add_pod(self, revision: str, message: str = "") -> None:
        requests = {"nvidia.com/gpu": "1"}
        refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                   "message": message, "lastTransitionTime": "2026-01-02T03:04:00Z"}  # fmt: skip
        ready = {"type": "Ready", "status": "True"}
        self.pods.append(
            {
                "metadata": {
                    "name": revision,
                    "namespace": "shop",
                    "uid": revision,
                    "labels": {"diffusion.dev/revision": revision},
                },
                "spec": {"containers": [{"name": "server", "resources": {"requests": requests}}]},
                "status": {"conditions": [refused if message else ready]},
            }
        )

    def get(self, key: Key) -> Object | None:
        return self.live if self.live is not None and key == key_of(self.live) else None

    def pods_of(self, namespace: str, name: str, label: str) -> list[Object]:
        return self.pods

    def revisions(self, namespace: str, name: str) -> list[Object]:
        return self.good

    def all(self, kind: str) -> list[Object]:
        return []

    async def pod_events(self, namespace: str, uid: str) -> list[Object]:
        return self.events

    async def create_once(self, owner: Object, desired: Object) -> Object:
        self.good = [desired]
        return desired

    async def plan(self, **spec: Any) -> Plan:
        owner = {**self.service, "spec": {**self.service["spec"], **spec}}
        read = DiffusionServiceSpec.model_validate(owner["spec"])
        fakes: Any = self
        turns = UpgradeTurns(fakes, self.settings.rollouts)
        rollout = Rollout(
            *(fakes, fakes, fakes),
            settings=self.settings,
            scaling=fakes,
            turns=turns,
            now=lambda: NOW,
        )
        return await rollout.plan(owner, read, None)


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(service, settings)


async def test_a_new_pod_settles_in_each_rollout_but_the_first(scene: Scene) -> None:
    assert "minReadySeconds" not in (await scene.plan()).deployment["spec"]
    scene.set_live()
    assert "minReadySeconds" not in (await scene.plan()).deployment["spec"]
    rolled = (await scene.plan(compile="full")).deployment
    assert rolled["spec"]["minReadySeconds"] == 10
    scene.live = {**rolled, "status": {}}
    assert (await scene.plan(compile="full")).deployment == rolled, "its end changes nothing"


@pytest.mark.parametrize(
    ("reason", "strategy", "waits"),
    [("TriggeredScaleUp", SURGE, True), ("NotTriggerScaleUp", IN_PLACE, False)],
)
async def test_no_old_pod_ends_while_an_autoscaler_adds_a_node(
    scene: Scene, reason: str, strategy: Object, *, waits: bool
) -> None:
    scene.set_live()
    assert scene.live is not None
    scene.add_pod("old")
    scene.add_pod(revision_of(scene.live), LACKING)
    scene.events = [{"reason": reason, "lastTimestamp": NOW}]
    plan = await scene.plan()
    assert plan.deployment["spec"]["strategy"] == strategy
    assert (plan.progressing is not None and plan.progressing.reason == "AwaitingNode") == waits
    assert (plan.again is not None) == waits


async def test_an_old_pod_ends_where_only_a_quota_is_in_the_way(scene: Scene) -> None:
    scene.set_live()
    assert scene.live is not None
    words = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    refused = {"type": "ReplicaFailure", "status": "True", "message": words}
    scene.live["status"]["conditions"].append(refused)
    scene.add_pod("old")
    assert (await scene.plan()).deployment["spec"]["strategy"] == IN_PLACE


async def test_a_cache_for_one_node_rolls_out_in_place_from_the_start(scene: Scene) -> None:
    cache = {"size": "20Gi", "accessMode": "ReadWriteOnce"}
    model = {"source": "hf://org/model", "cache": cache}
    scene.set_live(model=model)
    plan = await scene.plan(model=model, compile="full")
    assert plan.deployment["spec"]["strategy"] == IN_PLACE


async def test_the_way_back_to_the_last_good_revision_needs_no_gate(scene: Scene) -> None:
    gate = {"gate": {"loadTestTemplate": LOAD}}
    scene.set_live(compile="full", rollout=gate)
    assert scene.live is not None
    scene.service["metadata"]["generation"] = 4
    assert (await scene.plan(compile="regional")).gate is not None, "another one has to pass"
    back = Scene(scene.service, scene.settings)
    back.set_live(compile="none", rollout=gate)
    assert back.live is not None
    scene.good = [good_revision(scene.service, back.live, 1)]
    plan = await scene.plan(compile="none")
    assert plan.gate is None
    assert revision_of(plan.deployment) == revision_of(back.live)


async def test_pods_of_an_earlier_release_stay_until_their_spec_changes(
    scene: Scene,
) -> None:
    later = {"upgrade": "OnNextChange"}
    scene.settings = Settings.model_validate(
        {**scene.settings.model_dump(by_alias=True), "rollouts": later}
    )
    scene.set_live()
    assert scene.live is not None
    before = revision_of(scene.live)
    scene.add_pod(before)
    images = scene.settings.images.model_copy(update={"backends": {"fastapi": "reg/fastapi:2"}})
    scene.settings = scene.settings.model_copy(update={"images": images})
    scene.service["status"]["observedGeneration"] = scene.service["metadata"]["generation"]
    plan = await scene.plan()
    assert revision_of(plan.deployment) == before
    assert plan.is_upgrade_pending
    assert plan.progressing is not None
    assert plan.progressing.reason == "UpgradePending"
    scene.service["metadata"]["generation"] += 1
    assert revision_of((await scene.plan(compile="full")).deployment) != before
