"""Replica count: the autoscaling provider, and the operator's own calculation."""
