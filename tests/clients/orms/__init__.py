"""The page of ORMs, run with them."""
