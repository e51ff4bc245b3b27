"""Model fetch: init containers that download the model, and the volume that keeps it."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.model_source import ModelSource
from diffusion_operator.diffusionservice.specs.model_sources import STORE_MOUNT, Fetch, fetches
from diffusion_operator.diffusionservice.specs.serving_image import serving_image
from diffusion_operator.kube.expansion import unexpanded
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object
from diffusion_operator.kube.pod_security import CONTAINER_SECURITY, SCRATCH_MOUNT, resources
from diffusion_operator.settings import Settings

STORE = "store"
STORE_READ_ONLY: Object = {"name": STORE, "mountPath": STORE_MOUNT, "readOnly": True}
CREDENTIALS = "credentials"
CREDENTIALS_MOUNT = "/etc/diffusion/credentials"
GOOGLE_KEY = "key.json"


def cache_claim_name(owner: Mapping[str, Any]) -> str:
    """Name of the operator's own model claim."""
    return f"{owner['metadata']['name']}-models"


def uses_single_node_cache(spec: DiffusionServiceSpec) -> bool:
    """Whether the cache is a volume for one node, which two pods may not get at the same time."""
    return spec.model.cache is not None and spec.model.cache.access_mode == "ReadWriteOnce"


def cache_claim(owner: Mapping[str, Any], spec: DiffusionServiceSpec) -> Object | None:
    """PersistentVolumeClaim of ``model.cache.size``, or ``None``."""
    cache = spec.model.cache
    if cache is None or cache.size is None:
        return None
    storage_class = (
        {"storageClassName": cache.storage_class_name} if cache.storage_class_name else {}
    )
    return child(
        owner,
        "PersistentVolumeClaim",
        cache_claim_name(owner),
        spec={
            "accessModes": [cache.access_mode],
            "resources": {"requests": {"storage": cache.size}},
            **storage_class,
        },
    )


def fetch_containers(spec: DiffusionServiceSpec, settings: Settings) -> list[Object]:
    """Init containers, one per download, in their order."""
    return [_container(fetch, spec, settings) for fetch in fetches(spec)]


def fetch_volumes(owner: Mapping[str, Any], spec: DiffusionServiceSpec) -> list[Object]:
    """Volumes of the store and of the gs:// credentials."""
    downloads = fetches(spec)
    if not downloads:
        return []
    return [_store(owner, spec.model), *_credentials_volume(spec.model, downloads)]


def _store(owner: Mapping[str, Any], model: ModelSource) -> Object:
    if model.cache is None:
        return {"name": STORE, "emptyDir": {}}
    claim = model.cache.claim_name or cache_claim_name(owner)
    return {"name": STORE, "persistentVolumeClaim": {"claimName": claim}}


def _credentials_volume(model: ModelSource, downloads: Sequence[Fetch]) -> list[Object]:
    if model.credentials_secret_ref is None or all(fetch.scheme != "gs" for fetch in downloads):
        return []
    items = [{"key": GOOGLE_KEY, "path": GOOGLE_KEY}]
    secret = {"secretName": model.credentials_secret_ref.name, "items": items}
    return [{"name": CREDENTIALS, "secret": secret}]


def _container(fetch: Fetch, spec: DiffusionServiceSpec, settings: Settings) -> Object:
    revision = ["--revision", fetch.revision] if fetch.revision else []
    access = _access(fetch, spec.model, settings)
    return {
        "name": fetch.container,
        "image": serving_image(spec, settings),
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python", "-m", "diffusion_serving.fetch"],
        "args": [*map(unexpanded, ["--source", fetch.source, *revision, "--to", fetch.to])],
        # Scheduling counts the larger of init and main containers, so this request reserves nothing
        # more.
        "resources": resources(settings.server_resources),
        "securityContext": CONTAINER_SECURITY,
        **access,
        "volumeMounts": [
            SCRATCH_MOUNT,
            {"name": STORE, "mountPath": STORE_MOUNT},
            *access.get("volumeMounts", ()),
        ],
    }


def _access(fetch: Fetch, model: ModelSource, settings: Settings) -> Object:
    """Credentials of the source, as fields of the container."""
    if fetch.scheme == "hf":
        return _hub_access(model, settings)
    if model.credentials_secret_ref is None:
        return {}
    if fetch.scheme == "s3":
        return {"envFrom": [{"secretRef": {"name": model.credentials_secret_ref.name}}]}
    key = f"{CREDENTIALS_MOUNT}/{GOOGLE_KEY}"
    mount = {"name": CREDENTIALS, "mountPath": CREDENTIALS_MOUNT, "readOnly": True}
    return {
        "env": [{"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": key}],
        "volumeMounts": [mount],
    }


def _hub_access(model: ModelSource, settings: Settings) -> Object:
    env: list[Object] = []
    if settings.hf_endpoint:
        env.append({"name": "HF_ENDPOINT", "value": unexpanded(settings.hf_endpoint)})
    if model.token_secret_ref:
        token = {"name": model.token_secret_ref.name, "key": model.token_secret_ref.key}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": token}})
    return {"env": env} if env else {}
