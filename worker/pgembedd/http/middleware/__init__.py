"""ASGI middleware of every request: limits on bodies, metrics, security headers."""
