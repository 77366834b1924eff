"""The Envoy configuration of the edge and its renderer."""
