"""grpc's server, replaced when it ends by itself.

It does so when somebody calls a method whose name is no UTF-8: the loop that takes calls decodes
the name outside of every handler (grpcio 1.85), and its server closes its port for good while the
process lives on. The edge lets no such name through; whoever reaches a service directly can send
one without a token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import grpc
import structlog

from mesh.background import end_background

_log = structlog.get_logger(__name__)
_LOOK_SECONDS = 0.5
_AGAIN_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_TELL_AGAIN_SECONDS = 60.0


class LastingServer:
    """Serves on one address until it is told to stop."""

    def __init__(
        self,
        make: Callable[[], grpc.aio.Server],
        bind: Callable[[grpc.aio.Server, str], int],
        *,
        failed: asyncio.Event,
        grace_seconds: float,
    ) -> None:
        """Takes how to make a server and how to bind it to `host:port`.

        Args:
            make: Makes a server with its handlers, not started.
            bind: Binds a server and returns its port; raises OSError.
            failed: Set when a server that ended by itself cannot be replaced.
            grace_seconds: How long the calls of a server that ended by itself may take.
        """
        self._make = make
        self._bind = bind
        self._failed = failed
        self._grace_seconds = grace_seconds
        self._server = make()
        self._watch: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self, listen: str) -> int:
        """Begins to accept calls.

        Returns:
            The port, which the system chose if `listen` says 0.

        Raises:
            OSError: The address is in use or cannot be bound.
        """
        port = self._bind(self._server, listen)
        await self._server.start()
        address = f"{listen.rpartition(':')[0]}:{port}"
        self._watch = asyncio.create_task(self._last(address), name="watch over grpc's server")
        return port

    async def stop(self, grace: float) -> None:
        """Ends; calls under way may take so many seconds."""
        if self._watch is not None:
            await end_background([self._watch])
        await self._server.stop(grace)
        for ending in list(self._ending):
            ending.cancel()

    async def _last(self, address: str) -> None:
        while True:
            try:
                await self._server.wait_for_termination(_LOOK_SECONDS)
            except Exception as error:
                # What it says may quote the caller.
                _log.warning("grpc's server ended by itself", error=type(error).__name__)
                try:
                    await self._replace(address)
                except Exception:
                    # A process that lives and serves nothing helps nobody.
                    _log.exception("grpc's server cannot be replaced")
                    self._failed.set()
                    return

    async def _replace(self, address: str) -> None:
        # Its port is closed, but the calls that it had taken go on.
        ending = asyncio.create_task(self._server.stop(self._grace_seconds))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        pause, tell_at = _AGAIN_SECONDS, 0.0
        while True:
            server = self._make()
            try:
                self._bind(server, address)
                break
            except OSError as error:
                if time.monotonic() >= tell_at:
                    tell_at = time.monotonic() + _TELL_AGAIN_SECONDS
                    _log.error("nothing is served until the port is free", why=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        self._server = server
        await server.start()
