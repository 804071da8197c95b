"""Telemetry of the loop: the observer interface, Prometheus metrics, OpenTelemetry spans."""
