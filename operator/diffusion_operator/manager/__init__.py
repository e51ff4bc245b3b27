"""Manager: starts the operator's parts, receives kopf's events, wakes the reconcilers."""
