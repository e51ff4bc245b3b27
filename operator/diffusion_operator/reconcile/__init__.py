"""Reconcilers: look at what is, make it what is wanted, say how it stands."""
