"""Checks of this repository's own that no linter has."""
