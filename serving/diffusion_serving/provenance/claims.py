"""Claims that a picture's C2PA manifest makes, and whether its signature holds."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from c2pa import C2paError, Context, Reader  # type: ignore[import-untyped] # it has no annotations

_SETTINGS: Mapping[str, Any] = {
    # A picture's author chooses the addresses in it: nothing may be fetched from there.
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "core": {
        "allowed_network_hosts": [],
        "decode_identity_assertions": False,
        "max_decompressed_manifest_size_in_mb": 4,
    },
}
_UNKNOWN_SIGNER = "signingCredential.untrusted"
"""C2PA's code of a signature that holds, by a certificate that the reader doesn't know."""
_MAX_TEXT = 200
_MAX_FAULTS = 8


@dataclass(frozen=True)
class SignedClaims:
    """Claims of a picture's active manifest. Texts are its author's, cut to a few words."""

    holds: bool
    """Whether the signature holds: neither the manifest nor the picture has changed since."""
    signer_known: bool
    """Whether the signer's certificate comes from one of the authorities given."""
    signer: str | None
    generator: str | None
    """The program that made the claims."""
    source_types: tuple[str, ...]
    """Digital source types of the actions."""
    faults: tuple[str, ...]
    """Reasons why the signature doesn't hold."""


def read_claims(file: bytes, media_type: str, authorities: bytes = b"") -> SignedClaims | None:
    """Reads a picture's manifest and checks its signature; None if there is no manifest.

    `authorities` are certificates in PEM whose issues are known. Nothing is read from the network.
    """
    settings = dict(_SETTINGS)
    if authorities:
        settings["trust"] = {"user_anchors": authorities.decode()}
    try:
        with (
            Context.from_dict(settings) as context,
            Reader(media_type, io.BytesIO(file), context=context) as reader,
        ):
            return _claims(json.loads(reader.json()))
    except C2paError.ManifestNotFound:
        return None
    except C2paError as error:
        return SignedClaims(
            holds=False,
            signer_known=False,
            signer=None,
            generator=None,
            source_types=(),
            faults=(_short(f"the manifest cannot be read ({error})"),),
        )


def _claims(document: Mapping[str, Any]) -> SignedClaims:
    manifest = document["manifests"].get(document.get("active_manifest"), {})
    generators = manifest.get("claim_generator_info") or [{}]
    signature = manifest.get("signature_info") or {}
    names = [signature.get("common_name"), signature.get("issuer")]
    state = document.get("validation_state")
    return SignedClaims(
        holds=state in {"Valid", "Trusted"},
        signer_known=state == "Trusted",
        signer=_short(", ".join(str(name) for name in names if name)) or None,
        generator=_short(str(generators[0].get("name") or "")) or None,
        source_types=tuple(dict.fromkeys(_source_types(manifest)))[:_MAX_FAULTS],
        faults=tuple(dict.fromkeys(_faults(document)))[:_MAX_FAULTS],
    )


def _source_types(manifest: Mapping[str, Any]) -> Iterator[str]:
    for assertion in manifest.get("assertions") or ():
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            for action in (assertion.get("data") or {}).get("actions") or ():
                if source_type := action.get("digitalSourceType"):
                    yield _short(str(source_type))


def _faults(document: Mapping[str, Any]) -> Iterator[str]:
    """Yields the failed checks of the manifest and of the pictures that it was made from."""
    results = document.get("validation_results") or {}
    deltas = results.get("ingredientDeltas") or ()
    parts = [results.get("activeManifest") or {}]
    parts += [delta.get("validationDeltas") or {} for delta in deltas]
    for part in parts:
        for failure in part.get("failure") or ():
            if failure["code"] != _UNKNOWN_SIGNER:
                yield _short(f"{failure.get('explanation') or ''} ({failure['code']})")


def _short(text: str) -> str:
    return text[:_MAX_TEXT]
