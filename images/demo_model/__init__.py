"""A small Stable Diffusion pipeline that draws shapes, with its training and its checker."""
