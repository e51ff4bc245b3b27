"""Signing certificates: a chain and its private key, from PEM texts."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from diffusion_serving.provenance.errors import UnusableCertificate

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""C2PA's names of the algorithms, by the curve of the key."""
_KEYS = "ECDSA P-256, P-384 or P-521, Ed25519, or RSA"


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs pictures."""

    chain: bytes
    """PEM, the signer's own certificate first."""
    authorities: bytes
    """PEM of the chain without the signer's own certificate; empty if there is no other."""
    algorithm: str
    """C2PA's name of the signature algorithm."""
    private_key: bytes = field(repr=False)
    """PKCS#8 in PEM."""


def read_certificate(chain: bytes, private_key: bytes) -> Certificate:
    """Reads a chain and its key.

    Raises:
        UnusableCertificate: the message names the Secret's key at fault and what to put there.

    """
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise UnusableCertificate(
            "tls.crt holds no certificate in PEM: put the chain there, the signer's own first."
        ) from None
    try:
        key = load_pem_private_key(private_key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableCertificate(
            "tls.key holds no private key in PEM, or one with a passphrase: put the key there "
            "without a passphrase."
        ) from None
    match key:
        case ec.EllipticCurvePrivateKey() if key.curve.name in _CURVES:
            algorithm = _CURVES[key.curve.name]
        case ed25519.Ed25519PrivateKey():
            algorithm = "ed25519"
        case rsa.RSAPrivateKey():
            algorithm = "ps256"
        case _:
            raise UnusableCertificate(f"tls.key holds a key of another kind: use {_KEYS}.")
    if key.public_key() != certificates[0].public_key():
        raise UnusableCertificate(
            "tls.key is not the key of the first certificate in tls.crt: put both from the same "
            "issue there, the signer's own certificate first."
        )
    first, *others = (certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    return Certificate(
        chain=b"".join((first, *others)),
        authorities=b"".join(others),
        algorithm=algorithm,
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
