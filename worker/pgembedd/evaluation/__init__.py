"""Measures how well a pipeline's searches answer questions whose relevant rows are known."""
