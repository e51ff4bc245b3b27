"""A small Stable Diffusion pipeline that draws shapes, what it learns from, and its checker."""
