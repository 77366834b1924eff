"""The deadline of the call that is being served."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# pymongo looks for a server every 0.5 s and sees only then that its time is up.
_RESERVE_SECONDS = 0.6

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline_in(seconds: float) -> Iterator[None]:
    """Runs its body with a deadline that `remaining_seconds` tells of; it ends nothing itself."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining_seconds() -> float | None:
    """Returns how long the current call may still take, or None if it has no deadline."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def share_of_the_database(seconds: float) -> float:
    """Returns how much of the time of a call its database may use.

    A little less than all of it: "the database does not answer" is of more use to the caller than
    a deadline exceeded, and must still reach it.
    """
    return seconds - min(_RESERVE_SECONDS, seconds / 4)
