"""The signature of picture files: a C2PA manifest by the service's certificate."""

import base64
import io
import json
import logging
import threading
from pathlib import Path

from c2pa import (  # type: ignore[import-untyped] # it has no annotations
    Builder,
    C2paError,
    C2paSignerInfo,
    Context,
    Signer,
)

from diffusion_serving.observability.mounted_files import Version, version_of
from diffusion_serving.observability.startup_errors import InvalidConfiguration
from diffusion_serving.observability.versions import versions
from diffusion_serving.provenance.certificate import Certificate, read_certificate
from diffusion_serving.provenance.claims import read_claims
from diffusion_serving.provenance.errors import SigningFailed, UnusableCertificate
from diffusion_serving.provenance.xmp import GENERATED

log = logging.getLogger("diffusion_serving")

_SETTINGS = {
    # A thumbnail and a check after each signature would take several times the signature's time.
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False},
}
_MAX_BYTES = 1024 * 1024
_TRIES = 3

_TRIAL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel, which each new certificate signs first."""


class PictureSigner:
    """Signs picture files, with the certificate that its files hold at the moment.

    Any thread may call it.
    """

    def __init__(self, certificate_file: Path, private_key_file: Path) -> None:
        """Reads the certificate and signs a trial picture.

        Raises:
            InvalidConfiguration: there is no usable certificate, so every picture would fail.

        """
        self._files = (certificate_file, private_key_file)
        self._lock = threading.Lock()
        self._versions: tuple[Version, ...] | None = None
        self._context: Context | None = None
        self._authorities = b""
        self._manifest = json.dumps(_manifest())
        try:
            self._current()
        except SigningFailed as error:
            raise InvalidConfiguration(
                f"provenance.contentCredentials cannot be used. {error} docs/responsible.md "
                "describes a certificate that can be."
            ) from None

    @property
    def authorities(self) -> bytes:
        """The certificates, in PEM, from which the signer's own one comes; empty if unknown."""
        return self._authorities

    def sign(self, file: bytes, media_type: str) -> bytes:
        """Returns the file with a signed manifest in it.

        Raises:
            SigningFailed: there is no signature, and so no file to give away.

        """
        return _signed(file, media_type, self._manifest, self._current())

    def _current(self) -> Context:
        """Returns the context of the files' present certificate."""
        with self._lock:
            try:
                now = self._present()
                if self._context is None or now != self._versions:
                    self._context = None  # without a new certificate, the old one must not sign
                    self._load()
            except OSError as error:
                self._context = None
                raise SigningFailed(
                    f"The certificate's files cannot be read ({error.strerror}). Check that the "
                    "Secret exists, has the keys tls.crt and tls.key, and is mounted."
                ) from None
            except UnusableCertificate as error:
                raise SigningFailed(str(error)) from None
            return self._context

    def _present(self) -> tuple[Version, ...]:
        return tuple(version_of(file) for file in self._files)

    def _load(self) -> None:
        """Reads both files until they belong together, and signs the trial picture."""
        for _ in range(_TRIES):
            before = self._present()
            chain, key = (_content(file) for file in self._files)
            if self._present() == before:  # otherwise the Secret changed between the two
                break
        certificate = read_certificate(chain, key)
        context = _context(certificate)
        trial = _signed(_TRIAL, "image/png", self._manifest, context)
        claims = read_claims(trial, "image/png", certificate.authorities)
        if claims is None or not claims.holds:
            faults = "; ".join(claims.faults) if claims else "no manifest"
            raise SigningFailed(f"A signature by this certificate does not hold: {faults}.")
        self._context, self._versions, self._authorities = context, before, certificate.authorities
        log.info("certificate of pictures read", extra={"signer": claims.signer})


def _manifest() -> dict[str, object]:
    """The manifest's definition: the picture is generated, and by this program."""
    created = {"action": "c2pa.created", "digitalSourceType": GENERATED}
    return {
        "claim_generator_info": [
            {"name": "diffusion-operator", "version": versions()["diffusion_serving"]}
        ],
        "assertions": [
            # Of the assertions that the signer vouches for, not of those that it only collects.
            {"label": "c2pa.actions.v2", "created": True, "data": {"actions": [created]}}
        ],
    }


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAX_BYTES)


def _context(certificate: Certificate) -> Context:
    info = C2paSignerInfo(
        certificate.algorithm.encode(), certificate.chain, certificate.private_key, None
    )
    try:
        return Context.from_dict(_SETTINGS, signer=Signer.from_info(info))
    except C2paError as error:
        raise SigningFailed(_reason(error)) from None


def _signed(file: bytes, media_type: str, manifest: str, context: Context) -> bytes:
    signed = io.BytesIO()
    try:
        with Builder(manifest, context) as builder:
            builder.sign(media_type, io.BytesIO(file), signed)
    except C2paError as error:
        raise SigningFailed(_reason(error)) from None
    return signed.getvalue()


def _reason(error: C2paError) -> str:
    """Returns c2pa's reason as a sentence; c2pa quotes no key in it."""
    kind, _, reason = str(error).partition(": ")
    return f"The picture could not be signed ({reason or kind})."
