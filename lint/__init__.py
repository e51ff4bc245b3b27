"""This repository's own checks, which no linter has."""
