"""Throwaway certificates that sign pictures, and Secrets of them as the kubelet mounts them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Issue:
    """A chain and the key of its first certificate, both in PEM."""

    chain: bytes
    private_key: bytes


@dataclass(frozen=True)
class Authority:
    """A certificate authority that tests make up."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def issue(
        self,
        signer: str = "Signer",
        key: PrivateKey | None = None,
        *,
        days: tuple[int, int] = (-1, 30),
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
        key_format: PrivateFormat = PrivateFormat.PKCS8,
    ) -> Issue:
        """Issues a certificate; `days` from now are the begin and end of its validity."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(signer, self.certificate.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs="digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        pems = [each.public_bytes(Encoding.PEM) for each in (certificate, self.certificate)]
        private_key = key.private_bytes(Encoding.PEM, key_format, NoEncryption())
        return Issue(b"".join(pems), private_key)


@cache
def authority(name: str = "Test authority") -> Authority:
    """An authority of its own for each name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    certificate = (
        _builder(name, subject, key, (-100, 100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs="key_cert_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def mounted(folder: Path, version: str, issue: Issue) -> tuple[Path, Path]:
    """Mounts a Secret of type kubernetes.io/tls: its files go through a link that is swapped."""
    data = folder / version
    data.mkdir(parents=True)
    (data / "tls.crt").write_bytes(issue.chain)
    (data / "tls.key").write_bytes(issue.private_key)
    swap = folder / "..data_tmp"
    swap.symlink_to(version)
    swap.rename(folder / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    return folder / "tls.crt", folder / "tls.key"


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Ltd")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: str, issuer: x509.Name, key: PrivateKey, days: tuple[int, int]
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begin, end = (now + timedelta(days=day) for day in days)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _usage(signs: str) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name == signs for name in names})
