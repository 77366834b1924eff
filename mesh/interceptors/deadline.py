"""Gives every call a deadline, from the caller or from the policy of the RPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pymongo

from mesh import contracts
from mesh.errors import DeadlineExceeded
from mesh.interceptors.base import ServerCall

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
        token = _deadline.set(time.monotonic() + seconds)
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                with pymongo.timeout(seconds):
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
