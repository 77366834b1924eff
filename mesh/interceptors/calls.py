"""Counts the calls under way: how many may be, and when the last one has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh.errors import ResourceExhausted
from mesh.interceptors.base import ServerCall


class CallsLayer:
    """Refuses calls beyond a limit.

    grpc's own limit would also refuse health checks, so that an orchestrator ends the very replica
    that has the most to do, and it answers without details.
    """

    def __init__(self, limit: int) -> None:
        """Takes the number of calls served at once."""
        self._limit = limit
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        if self._count >= self._limit:
            raise ResourceExhausted(
                "TOO_MANY_CALLS", f"{self._limit} calls are served already", retry_after=1.0
            )
        self._count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def wait_until_idle(self, seconds: float) -> bool:
        """Waits for the end of the last call under way.

        Returns:
            Whether it came in time.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
