"""Settings of the operator; the Helm chart writes them as a JSON file."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from diffusion_operator.api.fields import Decimal, Model

SETTINGS_FILE = "/etc/diffusion-operator/settings.json"


class Accelerator(Model):
    """Entry of the accelerator catalogue: request, placement, memory and price of a GPU type."""

    resource_name: str | None = Field(
        None, description="Extended resource, such as nvidia.com/gpu."
    )
    resource_claim_template: str | None = Field(
        None,
        description="ResourceClaimTemplate of the service's namespace, one claim for each GPU, "
        "instead of an extended resource (dynamic resource allocation).",
    )
    runtime_class_name: str | None = Field(
        None, description="RuntimeClass of the pods, such as nvidia."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels of the nodes that have it."
    )
    node_labels: tuple[dict[str, str], ...] = Field(
        (), description="Sets of labels, one of which the nodes have: each cloud has its own."
    )
    tolerations: tuple[dict[str, Any], ...] = Field(
        (), description="Taints of those nodes to tolerate."
    )
    device: Literal["cuda", "cpu"] = Field(
        "cuda", description="The torch device; cpu for a stand-in resource."
    )
    memory: str | None = Field(
        None, description="Memory of one as a quantity, to warn of models that can't fit it."
    )
    price_per_hour: Decimal | None = Field(None, description="Dollars an hour for one.")

    @model_validator(mode="after")
    def _asks_for_something(self) -> "Accelerator":
        if (self.resource_name is None) == (self.resource_claim_template is None):
            raise ValueError("set exactly one of resourceName and resourceClaimTemplate")
        return self


class Images(Model):
    """Images of servers and load test runners."""

    loadtest: str
    backends: dict[str, str] = Field(description="Serving image of each backend.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class Resources(Model):
    """Requests and limits of a container, as Kubernetes quantities."""

    requests: dict[str, str] = Field(default_factory=dict)
    limits: dict[str, str] = Field(default_factory=dict)


class NetworkPolicySettings(Model):
    """Peers that a NetworkPolicy admits to serving pods."""

    admit: tuple[dict[str, Any], ...] = Field(
        (), description="Peers of a NetworkPolicy, beside the load tests of the same namespace."
    )


class PodDefaults(Model):
    """Defaults of every pod that the operator makes: servers, Ray heads, runners, workers."""

    metadata: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Labels and annotations of the pods."
    )
    spec: dict[str, Any] = Field(
        default_factory=dict, description="Pod spec, merged as `podTemplate.spec` is."
    )
    env: tuple[dict[str, Any], ...] = Field(
        (), description="Environment variables of every container, such as proxies."
    )
    volume_mounts: tuple[dict[str, Any], ...] = Field(
        (), description="Mounts of every container, such as a bundle of certificates."
    )
    remove: tuple[str, ...] = Field(
        (), description="Paths to take away, such as spec.securityContext.runAsUser."
    )


class ChildMetadata(Model):
    """Labels and annotations of the operator's objects, beside those of its own."""

    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    copy_labels: tuple[str, ...] = Field(
        (), description="Labels that each object takes from its owner."
    )
    copy_annotations: tuple[str, ...] = Field(
        (), description="Annotations that each object takes from its owner."
    )


class Rollouts(Model):
    """Rollouts of all services, and the services that a new release of the operator changes."""

    upgrade: Literal["Rolling", "OnNextChange"] = Field(
        "Rolling",
        description="Rolling: outdated services roll out, a few at a time. OnNextChange: each "
        "keeps its pods until its spec changes.",
    )
    max_concurrent_upgrades: int = Field(
        3, ge=1, le=1000, description="Outdated services that roll out at the same time."
    )
    min_ready_seconds: int = Field(
        10,
        ge=0,
        le=3600,
        description="Time for which a new revision's pod has to be ready before an old one ends, "
        "and before the revision counts as one that has served.",
    )
    scale_up_grace_seconds: int = Field(
        30,
        ge=0,
        le=3600,
        description="Time for an autoscaler to announce a node, before an old pod makes room.",
    )


class Settings(Model):
    """Configuration of the operator."""

    images: Images
    accelerators: dict[str, Accelerator] = Field(default_factory=dict)
    server_resources: Resources = Resources()
    backend_resources: dict[str, Resources] = Field(
        default_factory=dict, description="Resources of a backend that differ from the others'."
    )
    hf_endpoint: str = Field("", description="A mirror of the Hugging Face Hub.")
    prometheus_url: str = Field(
        "", description="A Prometheus that comparisons may ask for figures; empty: none."
    )
    runner_resources: Resources = Resources()
    max_concurrent_load_tests: int = Field(
        1, ge=1, le=1000, description="Load tests that run against one target at the same time."
    )
    network_policy: NetworkPolicySettings | None = Field(
        None, description="Set: each service gets a NetworkPolicy."
    )
    rollouts: Rollouts = Rollouts()
    pod_defaults: PodDefaults = PodDefaults()
    children: ChildMetadata = ChildMetadata()
    workers: int = Field(64, ge=1, le=256, description="Objects reconciled at the same time.")


def read_settings() -> Settings:
    """Read the settings from the file that ``DIFFUSION_OPERATOR_SETTINGS`` names.

    Raises:
        OSError: The file is missing.
        pydantic.ValidationError: The file has wrong content.
    """
    path = Path(os.environ.get("DIFFUSION_OPERATOR_SETTINGS", SETTINGS_FILE))
    return Settings.model_validate_json(path.read_text())
