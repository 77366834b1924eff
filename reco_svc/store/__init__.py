"""The recommendation service's collections in MongoDB."""
