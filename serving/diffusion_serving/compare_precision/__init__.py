"""Compares a precision with float32: `python -m diffusion_serving.compare_precision --help`."""
