"""What a target's figures depend on, as far as its /about tells. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

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
"""Keys of /about, and what they are called here."""
_DEFAULTS = {
    "steps": "steps",
    "guidance_scale": "guidanceScale",
    "width": "width",
    "height": "height",
    "scheduler": "scheduler",
}
"""Fields that a request may set and that /about has a default of."""


def fingerprint(about: Mapping[str, Any] | None, body: Mapping[str, Any]) -> dict[str, str]:
    """The facts that are known, as words; what every request asks for goes before the defaults."""
    known = about or {}
    found = {name: _word(known[key]) for key, name in _FACTS.items() if known.get(key) is not None}
    batching = known.get("batching")
    if isinstance(batching, Mapping) and "mode" in batching:
        found["batching"] = f"{batching['mode']}, at most {batching.get('max_size', 1)}"
    loras = known.get("loras")
    if isinstance(loras, list) and loras:
        found["loras"] = _word(loras)
    generation = known.get("generation")
    asked = {**(generation if isinstance(generation, Mapping) else {}), **body}
    found |= {
        name: _word(asked[key]) for key, name in _DEFAULTS.items() if asked.get(key) is not None
    }
    return found | dict(_versions(known.get("versions")))


def fingerprint_id(facts: Mapping[str, str]) -> str | None:
    """Twelve hex digits, the same for the same facts; a new revision alone changes nothing."""
    told = {name: fact for name, fact in facts.items() if name != "revision"}
    if not told:
        return None
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _versions(versions: object) -> Iterator[tuple[str, str]]:
    if isinstance(versions, Mapping):
        for name, version in versions.items():
            yield str(name), _word(version)


def _word(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:200]
