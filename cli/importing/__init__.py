"""Sends a data set to the mesh."""
