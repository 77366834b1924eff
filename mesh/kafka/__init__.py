"""Kafka for every service: raw bytes in, raw bytes out; meaning and telemetry are injected."""
