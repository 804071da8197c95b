"""`python -m bench.page` makes docs/performance.md and its plots from the results in bench/results."""
