"""Timestamps in the format of Kubernetes."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Current time, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
