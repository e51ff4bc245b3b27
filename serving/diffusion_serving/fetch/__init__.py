"""Fetches a model or a LoRA into a directory: `python -m diffusion_serving.fetch --help`.

Runs before the server, in a container that alone has the credentials. Several may start at once
with one volume: one downloads, the others wait for it. What was downloaded before a kill is kept.
"""
