"""Logs, metrics, resource usage, versions and termination messages of a process."""
