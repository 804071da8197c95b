"""What every request passes: limits on bodies, metrics, security headers."""
