"""Serves one Stable Diffusion model over HTTP: one engine, one HTTP surface, thin backends.

`python -m diffusion_serving --backend fastapi --model DIR --port 8000` starts the server.
"""
