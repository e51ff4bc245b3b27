"""Comparison: reconciler, schedule of the steps, run of a variant, status, analysis."""
