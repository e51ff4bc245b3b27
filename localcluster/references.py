"""Names of container images."""

from dataclasses import dataclass

from localcluster.errors import LocalClusterError


@dataclass(frozen=True)
class Reference:
    """An image's name without the registry that it happens to be named for."""

    path: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises LocalClusterError for a name by digest, which cannot be given another registry."""
        if "@" in text or not text:
            raise LocalClusterError(f"{text!r} is no name with a tag, such as my-image:1.")
        first, _, rest = text.partition("/")
        is_host = rest and (first == "localhost" or "." in first or ":" in first)
        name = rest if is_host else text
        path, colon, tag = name.rpartition(":")
        return cls(path, tag) if colon else cls(name, "latest")

    def at(self, registry: str) -> str:
        """The name below `registry`, a host with an optional port and path."""
        return f"{registry.rstrip('/')}/{self.path}:{self.tag}"
