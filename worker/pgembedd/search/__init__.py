"""Searches the rows of a pipeline by meaning."""
