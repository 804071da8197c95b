"""One module for each capability of the HTTP service."""
