"""Errors as responses: one sentence with a status, in the shape that the path's clients expect."""
