"""Comparison: reconciler, steps in their schedule, status, report."""
