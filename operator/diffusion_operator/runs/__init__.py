"""What is to be decided about the runs of a load test, as pure functions, an idea a module."""
