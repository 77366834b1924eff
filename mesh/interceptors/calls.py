"""Counts the calls under way: how many may be, and when the last one has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh import contracts
from mesh.auth.caller import current_caller
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


class RpcsLayer:
    """Bounds the RPCs of the mesh: calls, and apart from them live streams, which last."""

    def __init__(self, *, calls: int, streams: int) -> None:
        """Takes how many calls, and how many streams without a deadline, are served at once."""
        self._calls = CallsLayer(calls)
        self._streams = CallsLayer(streams)
        self._lasting = {
            policy.method
            for policy in contracts.policies().values()
            if policy.default_timeout is None
        }

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        counter = self._streams if call.method in self._lasting else self._calls
        async with counter.around(call):
            yield

    async def wait_until_idle(self, seconds: float) -> bool:
        """Waits for the end of the last call and stream under way.

        Returns:
            Whether it came in time.
        """
        return all(
            await asyncio.gather(
                self._calls.wait_until_idle(seconds), self._streams.wait_until_idle(seconds)
            )
        )


class PersonLayer:
    """Bounds what one person may have under way, so that nobody takes a replica from the others.

    Services speak for many and are not bounded here. Stands inside of authentication.
    """

    def __init__(self, limit: int) -> None:
        """Takes how many calls and streams one person may have under way."""
        self._limit = limit
        self._under_way: dict[str, int] = {}

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        caller = current_caller.get()
        if caller is None or caller.is_service:
            yield
            return
        person = caller.subject
        count = self._under_way.get(person, 0)
        if count >= self._limit:
            raise ResourceExhausted(
                "TOO_MANY_CALLS",
                f"{self._limit} calls of this caller are under way already",
                retry_after=1.0,
            )
        self._under_way[person] = count + 1
        try:
            yield
        finally:
            left = self._under_way[person] - 1
            if left:
                self._under_way[person] = left
            else:
                del self._under_way[person]
