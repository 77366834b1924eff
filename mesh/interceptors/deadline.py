"""Gives every call a deadline, from the caller or from the policy of the RPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar

import pymongo

from mesh import contracts
from mesh.errors import DeadlineExceeded
from mesh.interceptors.base import ServerCall
from mesh.mongo.client import OPERATION_SECONDS

# MongoDB gets a little less than the whole time: "the database does not answer" is of more use
# than a deadline exceeded, and must still reach the caller. pymongo looks for a server every 0.5 s
# and sees only then that its time is up.
_RESERVE_SECONDS = 0.6

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def remaining_seconds() -> float | None:
    """Returns how long the current call may still take, or None if it has no deadline."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class DeadlineLayer:
    """Ends a call at its deadline and hands the rest of the time to MongoDB and to peers."""

    def __init__(self) -> None:
        self._policies = contracts.policies()

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        seconds = self._allowed(call)
        if seconds is None:
            yield
            return
        if seconds <= 0:
            raise DeadlineExceeded(0)
        # `pymongo.timeout` replaces the limit that each operation has; it may only shorten it.
        shorter = seconds - min(_RESERVE_SECONDS, seconds / 4)
        database = pymongo.timeout(shorter) if shorter < OPERATION_SECONDS else nullcontext()
        token = _deadline.set(time.monotonic() + seconds)
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                with database:
                    yield
        except TimeoutError:
            if timeout.expired():
                raise DeadlineExceeded(seconds) from None
            raise
        finally:
            _deadline.reset(token)

    def _allowed(self, call: ServerCall) -> float | None:
        policy = self._policies.get(call.method)
        asked = call.context.time_remaining()
        if policy is None:
            return asked
        if asked is None:
            return policy.default_timeout
        return asked if policy.max_timeout is None else min(asked, policy.max_timeout)
