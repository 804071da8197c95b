"""What the loop tells while it works: the observer, Prometheus metrics, OpenTelemetry spans."""
