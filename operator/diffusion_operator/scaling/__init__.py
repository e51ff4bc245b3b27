"""What is to be decided about the number of replicas, as pure functions, an idea a module."""
