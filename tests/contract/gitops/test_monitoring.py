"""What Prometheus is told to scrape is there, under the names that the chart gives it."""

from collections.abc import Callable
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build.deployment import deployments
from diffusion_operator.settings import Settings

Object = dict[str, Any]
Render = Callable[..., list[Object]]
ENABLED = ("--set", "monitoring.podMonitors.enabled=true")
SERVICE: Object = {
    "apiVersion": "diffusion.dev/v1alpha1",
    "kind": "DiffusionService",
    "metadata": {"name": "demo", "namespace": "shop", "uid": "u-1"},
    "spec": {"backend": "fastapi", "model": {"source": "image:///models/demo"}},
}


def monitors(objects: list[Object]) -> dict[str, Object]:
    """What each PodMonitor says, by its name."""
    return {found["metadata"]["name"]: found["spec"] for found in objects
            if found["kind"] == "PodMonitor"}  # fmt: skip


def ports(pod: Object) -> set[str]:
    return {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}


def test_the_operators_own_pods_are_scraped_on_their_port(template: Render) -> None:
    objects = template(*ENABLED)
    (operator,) = [found for found in objects if found["kind"] == "Deployment"]
    pod = operator["spec"]["template"]
    spec = monitors(objects)["diffusion-operator"]
    assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert {each["port"] for each in spec["podMetricsEndpoints"]} <= ports(pod)


def test_every_services_pods_are_scraped_and_its_name_is_a_label(template: Render) -> None:
    settings = Settings.model_validate(
        {"images": {"loadtest": "l:1", "backends": {"fastapi": "f:1"}}}
    )
    spec = DiffusionServiceSpec.model_validate(SERVICE["spec"])
    pod = deployments(SERVICE, spec, settings)[0]["spec"]["template"]
    monitor = monitors(template(*ENABLED))["diffusion-operator-services"]
    assert monitor["namespaceSelector"] == {"any": True}
    (asked,) = monitor["selector"]["matchExpressions"]
    assert asked["operator"] == "Exists"
    assert asked["key"] in pod["metadata"]["labels"]
    assert set(monitor["podTargetLabels"]) <= pod["metadata"]["labels"].keys()
    assert {each["port"] for each in monitor["podMetricsEndpoints"]} <= ports(pod)


def test_where_only_some_namespaces_are_watched_only_those_are_scraped(template: Render) -> None:
    objects = template(*ENABLED, "--set", "watchNamespaces={shop,studio}")
    watched = monitors(objects)["diffusion-operator-services"]["namespaceSelector"]
    assert watched == {"matchNames": ["shop", "studio"]}


def test_without_the_prometheus_operator_nothing_of_it_is_asked_for(template: Render) -> None:
    assert monitors(template()) == {}
