"""Documents that other programs write and the serving program reads."""
