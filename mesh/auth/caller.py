"""The caller of the RPC that is being served."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

SERVICE_PREFIX: Final = "service:"
"""Begins the subject of a service. No user id can contain a colon."""

ANY_SUBJECT: Final = "subjects.any"
"""The scope that lets a caller touch the data of any user."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a verified token says.

    Attributes:
        subject: A user id, or `service:` and the name of a service.
        scopes: What the token may be used for.
        expires_at: Seconds since the epoch.
    """

    subject: str
    scopes: frozenset[str]
    expires_at: float

    @property
    def is_service(self) -> bool:
        """Whether the caller is a service rather than a person."""
        return self.subject.startswith(SERVICE_PREFIX)

    def may_touch(self, user_id: str) -> bool:
        """Tells whether the data of a user is open to this caller."""
        return ANY_SUBJECT in self.scopes or (self.subject == user_id and not self.is_service)


current_caller: ContextVar[Caller | None] = ContextVar("current_caller", default=None)
"""Set by authentication for as long as a call is served."""
