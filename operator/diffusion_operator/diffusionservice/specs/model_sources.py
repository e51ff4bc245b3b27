"""Model sources: paths inside the pod, and the downloads that a source needs."""

import hashlib
from dataclasses import dataclass

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec

CLAIM_MOUNT = "/models/claim"
STORE_MOUNT = "/models/store"
FETCHED = ("hf", "s3", "gs")


@dataclass(frozen=True)
class Fetch:
    """Download by an init container."""

    container: str
    scheme: str
    source: str
    revision: str | None
    to: str


def scheme_of(source: str) -> str:
    """Scheme of the source."""
    return source.partition("://")[0]


def claim_of(source: str) -> str | None:
    """Claim of a pvc:// source, or ``None``."""
    scheme, _, rest = source.partition("://")
    return rest.partition("/")[0] if scheme == "pvc" else None


def store_key(source: str, revision: str | None) -> str:
    """Directory of a download in the store, the same for all services."""
    return hashlib.sha256(f"{source}@{revision or ''}".encode()).hexdigest()[:16]


def claims_of(spec: DiffusionServiceSpec) -> list[str]:
    """Claims of the model, its LoRAs and its checker, each once, in the order of their mounts."""
    checker = [spec.safety.source] if spec.safety.source else []
    sources = (spec.model.source, *(lora.source for lora in spec.model.loras), *checker)
    return list(dict.fromkeys(claim for source in sources if (claim := claim_of(source))))


def claim_mount(claims: list[str], claim: str) -> str:
    """Mount path of a claim."""
    place = claims.index(claim)
    return CLAIM_MOUNT if place == 0 else f"{CLAIM_MOUNT}-{place}"


def path_of(spec: DiffusionServiceSpec, source: str, revision: str | None = None) -> str:
    """Path of the source inside the pod."""
    scheme, _, rest = source.partition("://")
    if scheme == "pvc":
        claim, _, inner = rest.partition("/")
        return f"{claim_mount(claims_of(spec), claim)}/{inner}".rstrip("/")
    if scheme in FETCHED:
        return f"{STORE_MOUNT}/{store_key(source, revision)}"
    return rest


def fetches(spec: DiffusionServiceSpec) -> list[Fetch]:
    """Downloads of the model, its LoRAs and its checker, each source once."""
    model, checker = spec.model, spec.safety.source
    named: list[tuple[str, str, str | None]] = [
        ("model", model.source, model.revision),
        *((f"lora-{lora.name}", lora.source, None) for lora in model.loras),
        *([("safety-checker", checker, None)] if checker else []),
    ]
    downloads: dict[str, Fetch] = {}
    for container, source, revision in named:
        scheme = scheme_of(source)
        if scheme in FETCHED:
            to = path_of(spec, source, revision)
            downloads.setdefault(to, Fetch(container, scheme, source, revision, to))
    return list(downloads.values())
