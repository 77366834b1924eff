"""Gives every call a deadline, from the caller or from the policy of the RPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import pymongo
from opentelemetry import trace

from mesh import contracts
from mesh.deadline import deadline_in, share_of_the_database
from mesh.errors import DeadlineExceeded
from mesh.interceptors.base import ServerCall
from mesh.mongo.client import OPERATION_SECONDS
from mesh.telemetry.rpc import DEADLINE_ATTRIBUTE


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
        trace.get_current_span().set_attribute(DEADLINE_ATTRIBUTE, seconds)
        if seconds <= 0:
            raise DeadlineExceeded(0)
        # `pymongo.timeout` replaces the limit that each operation has; it may only shorten it.
        share = share_of_the_database(seconds)
        database = pymongo.timeout(share) if share < OPERATION_SECONDS else nullcontext()
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                with deadline_in(seconds), database:
                    yield
        except TimeoutError:
            if timeout.expired():
                raise DeadlineExceeded(seconds) from None
            raise

    def _allowed(self, call: ServerCall) -> float | None:
        policy = self._policies.get(call.method)
        asked = call.context.time_remaining()
        if policy is None:
            return asked
        if asked is None:
            return policy.default_timeout
        return asked if policy.max_timeout is None else min(asked, policy.max_timeout)
