"""The servicers: message in, use case, message out."""
