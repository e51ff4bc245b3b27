"""Training of the demo model; `python -m demo_model.train --help` explains the options."""
