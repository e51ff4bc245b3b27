"""Load generation: users, arrivals, executors, and the run that drives them."""
