"""The target: its connection, readiness and identity."""
