"""Checks whether the stored vectors are those of their rows."""
