"""Kinds that the operator reads, writes and watches, listed once for all that need them."""

from dataclasses import dataclass

from diffusion_operator.api import GROUP, VERSION
from diffusion_operator.kube.objects import COMPARISON_LABEL, SERVICE_LABEL, TEST_LABEL


@dataclass(frozen=True)
class Kind:
    """REST path of a kind; the table makes discovery requests unnecessary."""

    group: str
    version: str
    plural: str
    watched: bool = False
    """Whether an informer of the operator follows the kind's labelled objects."""

    @property
    def api_version(self) -> str:
        """Group and version, as the kind's objects name them."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True)
class CustomKind:
    """A kind of this project: kopf watches it, and a reconciler owns its children."""

    app: str
    """Value of ``app.kubernetes.io/name`` on its children."""
    owner_label: str
    """Label by which its children name it."""


CUSTOM_KINDS = {
    "DiffusionService": CustomKind("diffusion-service", SERVICE_LABEL),
    "LoadTest": CustomKind("diffusion-loadtest", TEST_LABEL),
    "Comparison": CustomKind("diffusion-comparison", COMPARISON_LABEL),
}

KINDS = {
    **{kind: Kind(GROUP, VERSION, f"{kind.lower()}s") for kind in CUSTOM_KINDS},
    "Deployment": Kind("apps", "v1", "deployments", watched=True),
    "ControllerRevision": Kind("apps", "v1", "controllerrevisions", watched=True),
    "Service": Kind("", "v1", "services", watched=True),
    "ServiceAccount": Kind("", "v1", "serviceaccounts", watched=True),
    "PersistentVolumeClaim": Kind("", "v1", "persistentvolumeclaims", watched=True),
    "ConfigMap": Kind("", "v1", "configmaps", watched=True),
    "Role": Kind("rbac.authorization.k8s.io", "v1", "roles", watched=True),
    "RoleBinding": Kind("rbac.authorization.k8s.io", "v1", "rolebindings", watched=True),
    "PodDisruptionBudget": Kind("policy", "v1", "poddisruptionbudgets", watched=True),
    "Ingress": Kind("networking.k8s.io", "v1", "ingresses", watched=True),
    "NetworkPolicy": Kind("networking.k8s.io", "v1", "networkpolicies", watched=True),
    "HorizontalPodAutoscaler": Kind("autoscaling", "v2", "horizontalpodautoscalers", watched=True),
    "ScaledObject": Kind("keda.sh", "v1alpha1", "scaledobjects", watched=True),
    "HTTPRoute": Kind("gateway.networking.k8s.io", "v1", "httproutes", watched=True),
    "HealthCheckPolicy": Kind("networking.gke.io", "v1", "healthcheckpolicies", watched=True),
    "GCPBackendPolicy": Kind("networking.gke.io", "v1", "gcpbackendpolicies", watched=True),
    "RayService": Kind("ray.io", "v1", "rayservices", watched=True),
    "Job": Kind("batch", "v1", "jobs", watched=True),
    "Pod": Kind("", "v1", "pods", watched=True),
    "EndpointSlice": Kind("discovery.k8s.io", "v1", "endpointslices", watched=True),
    "Event": Kind("", "v1", "events"),
    "RayCluster": Kind("ray.io", "v1", "rayclusters"),
    "Lease": Kind("coordination.k8s.io", "v1", "leases"),
}

WATCHED_KINDS = tuple(name for name, kind in KINDS.items() if kind.watched)


def api_version_of(kind: str) -> str:
    """Group and version of the kind, as its objects name them."""
    return KINDS[kind].api_version
