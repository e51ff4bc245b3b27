"""The time as Kubernetes writes it."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Now, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
