"""`python -m bench.page` makes the tables next to the results, and those of the page with its plots (`__main__`)."""
