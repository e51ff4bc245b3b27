"""The facts of a target on which figures depend, from its /about document. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from diffusion_loadtest.plan.load_plan import Connections

_FACTS = {
    "backend": "backend",
    "revision": "revision",
    "source": "model",
    "model_revision": "modelRevision",
    "device": "device",
    "device_name": "deviceName",
    "devices": "devices",
    "dtype": "precision",
    "scheduler": "scheduler",
    "compile": "compile",
    "attention": "attention",
    "channels_last": "channelsLast",
}
"""Keys of /about, and their names in the fingerprint."""
_DEFAULTS = {
    "steps": "steps",
    "guidance_scale": "guidanceScale",
    "width": "width",
    "height": "height",
    "scheduler": "scheduler",
}
"""Fields of a request for which /about has a default."""


def fingerprint(
    about: Mapping[str, Any] | None,
    body: Mapping[str, Any],
    connections: Connections | None = None,
) -> dict[str, str]:
    """The known facts as words; a value that every request sets replaces the default.

    The reuse of connections is one of them: it decides how evenly replicas are loaded.
    """
    known = about or {}
    facts = {name: _word(known[key]) for key, name in _FACTS.items() if known.get(key) is not None}
    batching = known.get("batching")
    if isinstance(batching, Mapping) and "mode" in batching:
        facts["batching"] = f"{batching['mode']}, at most {batching.get('max_size', 1)}"
    loras = known.get("loras")
    if isinstance(loras, list) and loras:
        facts["loras"] = _word(loras)
    safety = known.get("safety")
    if isinstance(safety, Mapping) and safety.get("checker") not in (None, "None"):
        facts["safety"] = _word(safety["checker"])
    generation = known.get("generation")
    settings = {**(generation if isinstance(generation, Mapping) else {}), **body}
    facts |= {
        name: _word(settings[key])
        for key, name in _DEFAULTS.items()
        if settings.get(key) is not None
    }
    if connections is not None:
        facts["connections"] = str(connections)
    return facts | dict(_versions(known.get("versions")))


def fingerprint_id(facts: Mapping[str, str]) -> str | None:
    """Twelve hex digits, equal for equal facts; the revision does not count.

    None if nothing is known of the target.
    """
    counted = {name: fact for name, fact in facts.items() if name != "revision"}
    if not counted.keys() - {"connections"}:
        return None
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:12]


def _versions(versions: object) -> Iterator[tuple[str, str]]:
    if isinstance(versions, Mapping):
        for name, version in versions.items():
            yield str(name), _word(version)


def _word(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:200]
