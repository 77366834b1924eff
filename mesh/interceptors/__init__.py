"""What happens around every RPC: telemetry, errors, calls, streams, deadline, outermost first."""
