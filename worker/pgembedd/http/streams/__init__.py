"""Responses that are sent while their content is made."""
