"""The load report: figures, verdicts, and its publication."""
