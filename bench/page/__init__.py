"""`python -m bench.page` makes docs/reference/performance.md and its plots from the results in bench/results."""
