"""Traces, metrics and logs with the semantic conventions of OpenTelemetry."""
