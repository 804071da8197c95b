"""Responses that are sent while their content is made, and the wait for what takes time."""
