"""Messages between a master and its workers, over Locust's own protocol."""

READY, SEEN, DRAINED = "diffusion-ready", "diffusion-seen", "diffusion-drained"
"""What workers send: that they wait for orders, what they saw, that all has been answered."""
BEGIN, ORDER, DRAIN = "diffusion-begin", "diffusion-order", "diffusion-drain"
ABORT, OVER = "diffusion-abort", "diffusion-over"
"""What workers are told."""
