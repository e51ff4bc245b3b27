"""Routing: where requests from outside the cluster enter."""
