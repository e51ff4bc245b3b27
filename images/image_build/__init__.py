"""Builds the container images; standard library only, as it runs before any environment exists."""
