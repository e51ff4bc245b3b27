"""Pure analysis of a LoadTest's runs: identity, disturbance of the target, history, regression."""
