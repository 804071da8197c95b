"""Fetches files from URIs with the rights of this process: what they may begin with, and what is checked on the way."""
