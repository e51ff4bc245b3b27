"""Signing certificates: the keys and the PEM forms that are taken, and the faults of others."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from diffusion_serving.provenance.certificate import read_certificate
from diffusion_serving.provenance.errors import UnusableCertificate
from signing_certificates import Issue, PrivateKey, authority

ISSUE = authority().issue()


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
    ids=["p384", "ed25519", "rsa"],
)
def test_the_key_decides_the_algorithm(key: PrivateKey, algorithm: str) -> None:
    issue = authority().issue(key=key)
    assert read_certificate(issue.chain, issue.private_key).algorithm == algorithm


def test_a_key_in_another_form_is_turned_into_the_one_that_c2pa_takes() -> None:
    issue = authority().issue(key_format=PrivateFormat.TraditionalOpenSSL)
    assert b"BEGIN EC PRIVATE KEY" in issue.private_key
    certificate = read_certificate(issue.chain, issue.private_key)
    assert certificate.private_key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert certificate.authorities.count(b"BEGIN CERTIFICATE") == 1
    assert certificate.chain.endswith(certificate.authorities)


def test_the_key_is_not_shown() -> None:
    certificate = read_certificate(ISSUE.chain, ISSUE.private_key)
    assert "PRIVATE KEY" not in repr(certificate)


def locked() -> bytes:
    key = load_pem_private_key(ISSUE.private_key, None)
    encryption = BestAvailableEncryption(b"passphrase")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def other_kind() -> bytes:
    key = ed448.Ed448PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("issue", "reason"),
    [
        (Issue(b"x", ISSUE.private_key), "tls.crt holds no certificate in PEM"),
        (Issue(ISSUE.chain, b"x"), "tls.key holds no private key in PEM"),
        (Issue(ISSUE.chain, locked()), "without a passphrase"),
        (Issue(ISSUE.chain, other_kind()), "a key of another kind: use ECDSA"),
        (Issue(ISSUE.chain, authority().issue().private_key), "not the key of the first"),
    ],
    ids=["certificate", "key", "locked", "kind", "other"],
)
def test_each_fault_says_what_to_put_into_the_secret(issue: Issue, reason: str) -> None:
    with pytest.raises(UnusableCertificate, match=reason) as refusal:
        read_certificate(issue.chain, issue.private_key)
    assert "BEGIN" not in str(refusal.value)
