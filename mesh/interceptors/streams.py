"""Ends long-lived streams before the server ends, so that their callers go on elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh import contracts
from mesh.errors import Unavailable
from mesh.interceptors.base import ServerCall
from mesh.interceptors.calls import CallsLayer

_HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
_REFLECTION = "/grpc.reflection."


class OpenStreamsLayer:
    """Bounds the streams that need no token, of which anybody may open many and say nothing.

    Without a bound of their own they would use up the calls that grpc serves at once: everybody's,
    and the health checks by which an orchestrator judges the replica.
    """

    def __init__(self, limit: int) -> None:
        """Takes how many may be open at once."""
        self._calls = CallsLayer(limit)

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        if not _is_open_stream(call.method):
            yield
            return
        async with self._calls.around(call):
            yield


class StreamsLayer:
    """Ends, when told to, the calls that would go on for ever."""

    def __init__(self) -> None:
        self._ending = False
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._open: set[asyncio.Timeout] = set()
        self._long_lived = {
            policy.method
            for policy in contracts.policies().values()
            if policy.default_timeout is None
        }

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        if call.method not in self._long_lived and not _is_open_stream(call.method):
            yield
            return
        end = asyncio.timeout(0 if self._ending else None)
        self._open.add(end)
        self._none_open.clear()
        try:
            async with end:
                yield
        except TimeoutError:
            if end.expired():
                raise Unavailable(
                    "SERVER_DRAINS", "this replica is about to end; call again", retry_after=0.1
                ) from None
            raise
        finally:
            self._open.discard(end)
            if not self._open:
                self._none_open.set()

    async def end(self, patience_seconds: float) -> None:
        """Ends the open streams, and those to come, with UNAVAILABLE.

        Args:
            patience_seconds: How long streams that know of the end by themselves may take.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._none_open.wait()
        self._ending = True
        now = asyncio.get_running_loop().time()
        for end in self._open:
            if not end.expired():
                end.reschedule(now)


def _is_open_stream(method: str) -> bool:
    return method == _HEALTH_WATCH or method.startswith(_REFLECTION)
