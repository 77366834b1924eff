"""Texts in requests."""

from __future__ import annotations

from mesh.validation import Violations
from user_svc.domain import has_controls, is_blank


def check_line(check: Violations, field: str, value: str, *, maximum: int) -> None:
    """Requires one visible line of at most `maximum` characters."""
    if len(value) > maximum:  # first, since the other looks are at every character
        check.text(field, value, minimum=1, maximum=maximum)
    elif value and is_blank(value):
        check.add(field, "must have a visible character")
    elif has_controls(value):
        check.add(field, "must not contain control characters or line breaks")
    else:
        check.text(field, value, minimum=1, maximum=maximum)
