"""Names of container images."""

from dataclasses import dataclass

from localcluster.errors import LocalClusterError


@dataclass(frozen=True)
class Reference:
    """An image's name without its registry."""

    path: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Reads a name; raises LocalClusterError for one by digest, which has no tag to keep."""
        if "@" in text or not text:
            raise LocalClusterError(f"{text!r} is no name with a tag, such as my-image:1.")
        name = text.partition("/")[2] if _names_a_host(text) else text
        path, colon, tag = name.rpartition(":")
        return cls(path, tag) if colon else cls(name, "latest")

    def at(self, registry: str) -> str:
        """The name below `registry`, a host with an optional port and path."""
        return f"{registry.rstrip('/')}/{self.path}:{self.tag}"


def reference_of(text: str) -> str:
    """The full name, as nodes and archives use it, of a short name of Docker's command line."""
    reference = Reference.parse(text)
    if _names_a_host(text):
        return reference.at(text.partition("/")[0])
    return reference.at("docker.io" if "/" in text else "docker.io/library")


def _names_a_host(text: str) -> bool:
    host, slash, _ = text.partition("/")
    return bool(slash) and (host == "localhost" or "." in host or ":" in host)
