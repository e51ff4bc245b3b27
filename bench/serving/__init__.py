"""What serving costs: each backend and each stock peer beside the bare pipeline, in one run."""
