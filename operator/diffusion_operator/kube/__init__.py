"""Kubernetes API machinery: client, informers, store, applier, work queue, leader election."""
