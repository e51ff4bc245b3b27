"""Routing: where requests enter, and when a Service may lead to other pods."""
