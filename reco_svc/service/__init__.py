"""The use cases of the recommendation service."""
