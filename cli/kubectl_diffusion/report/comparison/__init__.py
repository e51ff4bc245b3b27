"""The report of a Comparison: ranked rows, variants over one another, the method in words."""
