"""The cost of serving: each backend and each stock peer beside the bare pipeline, in one run."""
