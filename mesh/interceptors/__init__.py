"""What happens around every RPC, outermost first: telemetry, errors, deadline."""
