"""Rendering that all reports share: pages, charts, verdicts and numbers."""
