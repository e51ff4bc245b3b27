"""Pure builders, one module a child kind: resource, spec and settings in, manifest out."""


class BuildError(Exception):
    """The spec asks for something that can't be built; says why and what to write instead."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
