"""Rollout of a new revision: upgrade turn, surge, gate, rollback."""
