"""Fetches a model or a LoRA into a directory: `python -m diffusion_serving.fetch --help`.

The command runs before the server, in a container that alone has the credentials. Several may start
at once with one volume: one downloads, the others wait for it. A killed download is resumed.
"""
