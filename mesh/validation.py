"""Checks of requests: all violations are collected, then raised together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from google.protobuf import field_mask_pb2

from mesh.errors import FieldViolation, InvalidArgument
from mesh.ids import is_id

# An answer has room for fewer, and a request may have a million wrong elements.
_MOST_VIOLATIONS = 1000
_MOST_PATHS = 100
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z")


class Violations:
    """Collects what is wrong with one request.

    Example:
        check = Violations()
        check.id("user_id", request.user_id)
        limit = check.limit("page_size", request.page_size, default=100, maximum=1000)
        check.raise_if_any()
    """

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    @property
    def found(self) -> Sequence[FieldViolation]:
        """The violations so far."""
        return self._found

    def add(self, field: str, description: str) -> None:
        """Notes a violation; of very many only the first ones are kept."""
        if len(self._found) < _MOST_VIOLATIONS:
            self._found.append(FieldViolation(field, description))

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Notes the violations of an InvalidArgument that its body raises, and goes on."""
        try:
            yield
        except InvalidArgument as error:
            self._found.extend(error.violations)

    def raise_if_any(self) -> None:
        """Ends the checks.

        Raises:
            InvalidArgument: With every violation noted, if there is any.
        """
        if self._found:
            raise InvalidArgument(self._found)

    def id(self, field: str, value: str, *, optional: bool = False) -> None:
        """Requires an id as `mesh.ids.is_id` defines it."""
        if not value:
            if not optional:
                self.add(field, "must not be empty")
        elif not is_id(value):
            self.add(field, "must be 1 to 128 characters of A-Z a-z 0-9 . _ ~ -")

    def text(self, field: str, value: str, *, maximum: int, minimum: int = 0) -> None:
        """Requires a text of a length from `minimum` to `maximum` characters, without NUL."""
        if len(value) < minimum:
            self.add(field, "must not be empty" if minimum == 1 else f"is under {minimum} long")
        elif len(value) > maximum:
            self.add(field, f"has {len(value)} characters; at most {maximum} are allowed")
        elif "\0" in value:
            self.add(field, "must not contain a NUL character")

    def count(self, field: str, size: int, *, maximum: int, minimum: int = 0) -> None:
        """Requires a repeated field of `minimum` to `maximum` entries."""
        if size < minimum:
            self.add(field, "must not be empty" if minimum == 1 else f"needs {minimum} entries")
        elif size > maximum:
            self.add(field, f"has {size} entries; at most {maximum} are allowed")

    def limit(self, field: str, value: int, *, default: int, maximum: int) -> int:
        """Requires a number from 1 to `maximum`; 0 stands for `default`."""
        if value < 0:
            self.add(field, f"must not be negative: {value}")
        elif value > maximum:
            self.add(field, f"must be at most {maximum}: {value}")
        return value or default

    def language(self, field: str, value: str) -> None:
        """Requires the form of a BCP 47 language tag."""
        if len(value) > 35 or _LANGUAGE.match(value) is None:
            self.add(field, "is not a BCP 47 language tag")

    def mask(
        self, field: str, mask: field_mask_pb2.FieldMask, allowed: Sequence[str]
    ) -> frozenset[str]:
        """Resolves an update mask; empty or "*" means every allowed field."""
        self.count(field, len(mask.paths), maximum=_MOST_PATHS)
        paths = set(mask.paths[:_MOST_PATHS])
        if not paths or paths == {"*"}:
            return frozenset(allowed)
        for path in sorted(paths - set(allowed)):
            self.add(field, f"{path[:80]!r} cannot be updated; allowed are {', '.join(allowed)}")
        return frozenset(paths & set(allowed))
