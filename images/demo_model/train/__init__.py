"""Trains the demo model; `python -m demo_model.train --help` says how."""
