"""Identifiers."""

from __future__ import annotations

import re

from ulid import ULID

_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")


def new_id() -> str:
    """Returns a new ULID: 26 characters that sort by the time they were made."""
    return str(ULID())


def is_id(value: str) -> bool:
    """Tells whether a caller may use `value` as an id: 1 to 128 of A-Z a-z 0-9 . _ ~ -."""
    return _ID.match(value) is not None
