"""Statistics of a Comparison: intervals, ranking, differences, the result table."""
