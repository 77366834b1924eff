"""Nearest-movie search over the out-vectors of one model."""
