"""Keys and certificates of one cluster, from the openssl command: Python itself has no X.509."""

from dataclasses import dataclass
from pathlib import Path

from localcluster import shell

_DAYS = "3650"
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]


@dataclass(frozen=True)
class Certificate:
    """A certificate for the IP addresses and host names in `addresses`; for a client if empty."""

    name: str
    common_name: str
    organization: str | None = None
    addresses: tuple[str, ...] = ()
    authority: str = "ca"

    @property
    def subject(self) -> str:
        group = "" if self.organization is None else f"/O={self.organization}"
        return f"{group}/CN={self.common_name}"

    @property
    def extensions(self) -> list[str]:
        usage = "clientAuth" if not self.addresses else "serverAuth"
        lines = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            f"extendedKeyUsage={usage}",
        ]
        if self.addresses:
            kinds = (("IP" if _is_address(a) else "DNS") + f":{a}" for a in self.addresses)
            lines.append("subjectAltName=" + ",".join(kinds))
        return lines


def control_plane(addresses: tuple[str, ...]) -> tuple[Certificate, ...]:
    """Certificates of the control plane and its administrator; `addresses`: the API server's."""
    return (
        Certificate("apiserver", "kube-apiserver", addresses=addresses),
        Certificate("admin", "localcluster-admin", "system:masters"),
        Certificate("controller-manager", "system:kube-controller-manager"),
        Certificate("scheduler", "system:kube-scheduler"),
        Certificate("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
    )


def node(name: str, address: str) -> tuple[Certificate, ...]:
    """Certificates of one node, and of the API server's calls to the node."""
    return (
        Certificate("kubelet-client", f"system:node:{name}", "system:nodes"),
        Certificate("kubelet", name, addresses=(name, address)),
        Certificate("kube-proxy", "system:kube-proxy"),
        Certificate("apiserver-kubelet-client", "kube-apiserver", "system:masters"),
    )


def write(folder: Path, certificates: tuple[Certificate, ...]) -> None:
    """Writes both authorities, the service account key and `certificates`: NAME.crt, NAME.key."""
    folder.mkdir(parents=True, mode=0o700)
    for authority in ("ca", "front-proxy-ca"):
        _request(folder, authority, f"/CN=localcluster-{authority}", _AUTHORITY_EXTENSIONS, [])
    for certificate in certificates:
        signer = ["-CA", f"{certificate.authority}.crt", "-CAkey", f"{certificate.authority}.key"]
        _request(folder, certificate.name, certificate.subject, certificate.extensions, signer)
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    shell.run(["openssl", "genpkey", *curve, "-out", "service-accounts.key"], cwd=folder)
    public = ["-in", "service-accounts.key", "-pubout", "-out", "service-accounts.pub"]
    shell.run(["openssl", "pkey", *public], cwd=folder)


_AUTHORITY_EXTENSIONS = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"]


def _request(
    folder: Path, name: str, subject: str, extensions: list[str], signer: list[str]
) -> None:
    argv = ["openssl", "req", "-x509", "-batch", "-config", "/dev/null", *_NEW_KEY]
    argv += ["-subj", subject, "-days", _DAYS, *signer]
    for extension in extensions:
        argv += ["-addext", extension]
    shell.run([*argv, "-keyout", f"{name}.key", "-out", f"{name}.crt"], cwd=folder)


def _is_address(text: str) -> bool:
    return text.replace(".", "").isdigit()
