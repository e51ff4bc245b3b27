"""Analysis of a Comparison: figures of its runs, ranking, differences, result table, report."""
