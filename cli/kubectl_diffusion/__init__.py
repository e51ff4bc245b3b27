"""``kubectl diffusion``: reports of load tests, and images from a service.

The plugin imports nothing of the operator: its inputs are resources and JSON reports.
"""
