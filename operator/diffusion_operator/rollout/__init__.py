"""What is to be decided about a rollout, as pure functions, an idea a module."""
