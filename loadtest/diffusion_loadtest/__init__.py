"""Load-tests a served Stable Diffusion with Locust and reports credible figures."""
