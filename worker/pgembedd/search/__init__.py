"""One call to find rows by meaning."""
