"""`python -m bench.page` makes the tables beside the results, and those of the page with its plots (`__main__`)."""
