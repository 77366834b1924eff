"""The components' log lines, for people."""

from __future__ import annotations

import json
from typing import Any

_KNOWN = ("timestamp", "level", "event", "exception")
_OF_EVERY_LINE = ("service", "logger", "trace_id", "span_id")


def readable(line: str) -> str:
    """Returns one line of a log as people read it.

    The services write JSON objects; of these it shows time, severity, message, what belongs to
    it, and the last line of the exception. What others write stays as it is.
    """
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "event" not in entry:
        return line
    details = [
        f"{name}={_value(value)}"
        for name, value in entry.items()
        if name not in _KNOWN and name not in _OF_EVERY_LINE
    ]
    time = str(entry.get("timestamp", ""))[11:19]
    parts = [time, str(entry.get("level", "")).upper(), str(entry["event"]), *details]
    if reason := _last_line(entry.get("exception")):
        parts.append(f"({reason})")
    return " ".join(part for part in parts if part)


def _value(value: Any) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value)


def _last_line(exception: Any) -> str:
    lines = [line for line in str(exception or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
