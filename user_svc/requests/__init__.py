"""Requests, checked and read."""
