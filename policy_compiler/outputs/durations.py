"""Durations as JSON and YAML write them."""

from __future__ import annotations

from datetime import timedelta


def seconds(duration: timedelta) -> str:
    """Returns a duration in Protobuf's JSON form, to the millisecond: `2.000s`."""
    return f"{duration.total_seconds():.3f}s"
