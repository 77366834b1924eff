"""What happens around every RPC, outermost first.

Telemetry, errors, calls, streams, deadline, authentication, authorisation.
"""
