"""Load-tests a served Stable Diffusion with Locust and reports figures that can be believed."""
