"""Forms that values must have."""

from __future__ import annotations

import re
import unicodedata
import zoneinfo
from functools import cache

# The form that HTML's <input type=email> accepts: https://html.spec.whatwg.org/#valid-e-mail-address
# It is ASCII, so addresses need no Unicode normalisation before they are compared.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*\Z")
_MAX_EMAIL = 254

_CONTROLS = {"Cc", "Zl", "Zp"}  # control characters; line and paragraph separators
_INVISIBLE = {"Cf", "Zs", *_CONTROLS}
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a symbol that leave a gap


def email_key(email: str) -> str:
    """Returns what must be unique among the addresses of all users."""
    return email.lower()


def is_email(value: str) -> bool:
    """Tells whether a text has the form of an address that HTML forms accept."""
    return len(value) <= _MAX_EMAIL and _EMAIL.match(value) is not None


def is_time_zone(value: str) -> bool:
    """Tells whether a text names a time zone of the IANA database."""
    return value in _time_zones()


@cache
def _time_zones() -> frozenset[str]:
    # "localtime" is what some systems call their own zone.
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


def has_controls(text: str) -> bool:
    """Tells whether a text has control characters or line breaks of any kind."""
    return any(unicodedata.category(character) in _CONTROLS for character in text)


def is_blank(text: str) -> bool:
    """Tells whether nothing of a text is visible."""
    return all(
        unicodedata.category(character) in _INVISIBLE or character in _FILLERS for character in text
    )
