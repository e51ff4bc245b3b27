"""``kubectl diffusion``: reports of load tests, and images from a service, on one's own machine.

It imports nothing of the operator: what it reads are resources and the runner's JSON report.
"""
