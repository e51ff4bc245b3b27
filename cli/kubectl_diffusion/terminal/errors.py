"""Errors for the person at the terminal."""


class PluginError(Exception):
    """The command can't be carried out; the message says why and what to do."""


class ClusterAwayError(PluginError):
    """The cluster can't be reached now; a later try may succeed."""
