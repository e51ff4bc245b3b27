"""The chart's monitors select each pod once, by ports and names that exist."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.canary import canary, preview
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.diffusionservice.specs.ray_service import ray_service, workers_of
from diffusion_operator.diffusionservice.specs.service import service
from diffusion_operator.settings import Settings
from managed_prometheus import KINDS, unknown_fields

Object = dict[str, Any]
Render = Callable[..., list[Object]]
ROOT = Path(__file__).parents[3]
GOOGLES = ("--set", "monitoring.podMonitorings.enabled=true")
WAYS = {"ServiceMonitor": "serviceMonitors", "PodMonitor": "podMonitors"}
ENDPOINTS = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}
SETTINGS = Settings.model_validate(
    {"images": {"loadtest": "l:1", "backends": {"fastapi": "f:1", "rayserve": "r:1"}}}
)
CLUSTER: Object = {"backend": "rayserve", "rayserve": {"topology": "cluster"}}


def enabled(kind: str, *more: str) -> tuple[str, ...]:
    return ("--set", f"monitoring.{WAYS[kind]}.enabled=true", *more)


def monitors(objects: list[Object], kind: str) -> dict[str, Object]:
    """The spec of each monitor of the kind, by name."""
    return {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == kind}


def matches(selector: Object, labels: Object) -> bool:
    """Whether the selector matches the labels."""
    expressions = selector.get("matchExpressions", ())
    assert {one["operator"] for one in expressions} <= {"Exists", "DoesNotExist"}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        (one["key"] in labels) == (one["operator"] == "Exists") for one in expressions
    )


def ports(pod: Object) -> list[str]:
    return [port["name"] for container in pod["spec"]["containers"] for port in container["ports"]]


def scraped(
    monitor: Object, kind: str, services: list[Object], pods: dict[str, Object]
) -> Iterator[tuple[str, str]]:
    """Yields each scrape: the pod's name in this test, and the service that labels its series."""
    endpoint_ports = [endpoint["port"] for endpoint in monitor[ENDPOINTS[kind]]]
    for name, pod in pods.items():
        labels = pod["metadata"]["labels"]
        if kind == "PodMonitor" and matches(monitor["selector"], labels):
            (endpoint,) = monitor[ENDPOINTS[kind]]
            (relabelled,) = endpoint["relabelings"]
            assert relabelled["targetLabel"] == "diffusion_dev_service"
            (source,) = relabelled["sourceLabels"]
            (value,) = (value for key, value in labels.items() if source.endswith(plain(key)))
            yield from ((name, value) for port in ports(pod) if port in endpoint_ports)
    for each in services if kind == "ServiceMonitor" else ():
        if matches(monitor["selector"], each["metadata"]["labels"]):
            (label,) = monitor["targetLabels"]
            assert plain(label) == "diffusion_dev_service"
            value = each["metadata"]["labels"][label]
            for name, pod in pods.items():
                if each["spec"]["selector"].items() <= pod["metadata"]["labels"].items():
                    targets = [
                        p["targetPort"]
                        for p in each["spec"]["ports"]
                        if p["name"] in endpoint_ports
                    ]
                    yield from ((name, value) for target in targets if target in ports(pod))


def plain(label: str) -> str:
    """The name of a label as Prometheus writes it."""
    return "".join(letter if letter.isalnum() else "_" for letter in label)


def owner(name: str, **changes: Any) -> tuple[Object, DiffusionServiceSpec]:
    spec = {
        "backend": "fastapi",
        "replicas": 2,
        "model": {"source": "image:///models/demo"},
        **changes,
    }
    made = {
        "apiVersion": "diffusion.dev/v1alpha1",
        "kind": "DiffusionService",
        "metadata": {"name": name, "namespace": "shop", "uid": f"u-{name}"},
        "spec": spec,
    }
    return made, DiffusionServiceSpec.model_validate(spec)


def in_namespace() -> tuple[list[Object], dict[str, Object]]:
    """The Services and the pods of two services: one with a candidate, and a Ray cluster."""
    demo, plain_spec = owner("demo")
    theirs, cluster_spec = owner("theirs", **CLUSTER)
    served = deployment(demo, plain_spec, SETTINGS)
    kuberays = ray_service(theirs, cluster_spec, SETTINGS)
    cluster = kuberays["spec"]["rayClusterConfig"]
    services = [
        service(demo, plain_spec),
        preview(demo),
        service(theirs, cluster_spec),
    ]
    return services, {
        "served": served["spec"]["template"],
        "candidate": canary(demo, served)["spec"]["template"],
        "KubeRay's worker": workers_of(kuberays)["template"],
        "KubeRay's head": cluster["headGroupSpec"]["template"],
    }


@pytest.mark.parametrize("kind", WAYS)
def test_the_pods_that_answer_are_scraped_once_under_their_services_names(
    template: Render, kind: str
) -> None:
    services, pods = in_namespace()
    assert len(services) == 3
    by_name = monitors(template(*enabled(kind)), kind)
    monitor = by_name.pop("diffusion-operator-services")
    assert monitor["namespaceSelector"] == {"any": True}
    assert sorted(scraped(monitor, kind, services, pods)) == [
        ("KubeRay's head", "theirs"),
        ("served", "demo"),
    ]
    (others,) = by_name.values()
    labels = [each["metadata"]["labels"] for each in (*services, *pods.values())]
    assert not any(matches(others["selector"], each) for each in labels)


def test_the_operators_own_pods_are_scraped_on_their_port(template: Render) -> None:
    objects = template(*enabled("PodMonitor"))
    (operator,) = [each for each in objects if each["kind"] == "Deployment"]
    pod = operator["spec"]["template"]
    spec = monitors(objects, "PodMonitor")["diffusion-operator"]
    assert matches(spec["selector"], pod["metadata"]["labels"])
    assert {each["port"] for each in spec["podMetricsEndpoints"]} <= set(ports(pod))


def test_the_operators_own_service_leads_to_the_port_that_its_pods_answer_on(
    template: Render,
) -> None:
    objects = template(*enabled("ServiceMonitor"))
    (operator,) = [each for each in objects if each["kind"] == "Deployment"]
    (own,) = [each for each in objects if each["kind"] == "Service"]
    pod = operator["spec"]["template"]
    spec = monitors(objects, "ServiceMonitor")["diffusion-operator"]
    assert matches(spec["selector"], own["metadata"]["labels"])
    assert own["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert own["spec"]["clusterIP"] == "None"
    (port,) = own["spec"]["ports"]
    assert [each["port"] for each in spec["endpoints"]] == [port["name"]]
    assert port["targetPort"] in ports(pod)


@pytest.mark.parametrize("kind", WAYS)
def test_where_only_some_namespaces_are_watched_only_those_are_scraped(
    template: Render, kind: str
) -> None:
    objects = template(*enabled(kind, "--set", "watchNamespaces={shop,studio}"))
    watched = monitors(objects, kind)["diffusion-operator-services"]["namespaceSelector"]
    assert watched == {"matchNames": ["shop", "studio"]}


@pytest.mark.parametrize("kind", WAYS)
def test_a_prometheus_that_looks_for_labels_finds_them(template: Render, kind: str) -> None:
    more = ("--set", f"monitoring.{WAYS[kind]}.labels.release=prometheus")
    objects = [each for each in template(*enabled(kind, *more)) if each["kind"] == kind]
    assert [each["metadata"]["labels"]["release"] for each in objects] == ["prometheus"] * 2


def test_managed_prometheus_scrapes_the_pods_that_answer_once(template: Render) -> None:
    _, pods = in_namespace()
    (monitor,) = monitors(template(*GOOGLES), "ClusterPodMonitoring").values()
    (endpoint,) = monitor["endpoints"]
    (mapping,) = monitor["targetLabels"]["fromPod"]
    assert mapping["to"] == "diffusion_dev_service", "the name in the other ways' series"
    answering = {
        name: pod["metadata"]["labels"][mapping["from"]]
        for name, pod in pods.items()
        if matches(monitor["selector"], pod["metadata"]["labels"])
        and endpoint["port"] in ports(pod)
    }
    assert answering == {"KubeRay's head": "theirs", "served": "demo"}


def test_managed_prometheus_scrapes_the_operators_pods(template: Render) -> None:
    objects = template(*GOOGLES)
    (operator,) = [each for each in objects if each["kind"] == "Deployment"]
    pod = operator["spec"]["template"]
    spec = monitors(objects, "PodMonitoring")["diffusion-operator"]
    assert matches(spec["selector"], pod["metadata"]["labels"])
    assert {each["port"] for each in spec["endpoints"]} <= set(ports(pod))


def test_in_watched_namespaces_alone_each_has_its_own_pod_monitoring(template: Render) -> None:
    """A PodMonitoring selects pods of its own namespace; there is no selector of namespaces."""
    objects = template(*GOOGLES, "--set", "watchNamespaces={shop,studio}")
    kinds = [each for each in objects if each["kind"] in KINDS]
    places = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in kinds}
    assert places == {
        ("diffusion-system", "diffusion-operator"),
        ("shop", "diffusion-operator-services"),
        ("studio", "diffusion-operator-services"),
    }


@pytest.mark.parametrize("more", [(), ("--set", "watchNamespaces={shop}")])
def test_managed_prometheus_has_every_field_that_is_set(
    template: Render, more: tuple[str, ...]
) -> None:
    made = [each for each in template(*GOOGLES, *more) if each["kind"] in KINDS]
    assert len(made) == 2
    assert [name for each in made for name in unknown_fields(each["spec"])] == []
    prometheus_operators = template(*enabled("PodMonitor"))
    theirs = monitors(prometheus_operators, "PodMonitor")["diffusion-operator-services"]
    assert "namespaceSelector" in str(list(unknown_fields(theirs))), "the check sees a foreign kind"


def test_both_ways_at_once_are_refused_as_they_would_scrape_each_pod_twice() -> None:
    tool = [sys.executable, "-m", "localcluster", "tool", "helm"]
    helm = subprocess.run(tool, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    command = [helm.stdout.strip(), "template", "diffusion-operator", "deploy/chart"]
    ways = (enabled("ServiceMonitor"), enabled("PodMonitor"), GOOGLES)
    for one, other in combinations(ways, 2):
        done = subprocess.run(
            [*command, *one, *other], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "enable one of them" in done.stderr


def test_by_default_no_object_of_the_prometheus_operator_is_rendered(template: Render) -> None:
    objects = template()
    assert not [each for each in objects if each["kind"] in {*WAYS, *KINDS}]
