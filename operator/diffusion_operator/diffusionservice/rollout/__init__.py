"""Rollout of a new revision: surge, canary, gate, rollback, last-good revision."""
