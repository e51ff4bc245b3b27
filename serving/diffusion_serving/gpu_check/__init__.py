"""Checks a GPU with the server's own code: `python -m diffusion_serving.gpu_check --help`."""
