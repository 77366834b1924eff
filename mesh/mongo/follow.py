"""Keeps something in memory up with collections: change streams wake it, a sweep stands behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import pymongo
import structlog
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from mesh.background import end_background
from mesh.mongo.client import Document
from mesh.telemetry.spans import untraced_database

_log = structlog.get_logger(__name__)
# A burst of changes, such as the rows of one batch, is taken over together.
_SETTLE_SECONDS = 0.05
# After this long a stream is opened anew.
_STREAM_SECONDS = 24 * 3600.0
_STREAM_AGAIN_SECONDS = 1.0


class Follower:
    """Calls `refresh` at the start, after changes, and every so often in case one went unseen.

    A change stream only says that something happened; `refresh` reads what there is. So a stream
    that breaks or has lost its place costs time, never a change.
    """

    def __init__(
        self,
        database: AsyncDatabase[Document],
        collections: Sequence[str],
        refresh: Callable[[], Awaitable[None]],
        *,
        sweep_seconds: float = 5.0,
    ) -> None:
        """Takes what to follow.

        Args:
            database: Where the collections are.
            collections: Whose changes matter.
            refresh: Takes over the present state; never runs twice at once. Its exceptions are
                logged and it is called again at the next sweep.
            sweep_seconds: How long a change may go unnoticed when the streams fail.
        """
        self._database = database
        self._collections = tuple(collections)
        self._refresh = refresh
        self._sweep_seconds = sweep_seconds
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def wake(self) -> None:
        """Has `refresh` called soon; for changes this process made itself."""
        self._wake.set()

    async def start(self) -> None:
        """Refreshes once, then follows in the background.

        Raises:
            Exception: Whatever the first refresh raised.
        """
        await self._refresh()
        self._tasks = [
            asyncio.create_task(self._run(), name="follower"),
            *(asyncio.create_task(self._watch(name)) for name in self._collections),
        ]

    async def stop(self) -> None:
        """Stops following."""
        self._stopping = True
        tasks, self._tasks = self._tasks, []
        await end_background(tasks)

    async def _run(self) -> None:
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._sweep_seconds)
                await asyncio.sleep(_SETTLE_SECONDS)
            self._wake.clear()
            try:
                with untraced_database():
                    await self._refresh()
            except Exception:
                _log.exception("refresh failed", collections=self._collections)

    async def _watch(self, collection: str) -> None:
        # Closing a stream may fail and so hide that this task was cancelled.
        while not self._stopping:
            try:
                # Without this the client's limit for one operation would end the stream.
                with untraced_database(), pymongo.timeout(_STREAM_SECONDS):
                    stream = await self._database[collection].watch(max_await_time_ms=1000)
                    async with stream:
                        self._wake.set()  # whatever happened before the stream was open
                        async for _ in stream:
                            self._wake.set()
            except PyMongoError as error:
                _log.warning("change stream ended", collection=collection, error=str(error))
            except Exception:
                _log.exception("change stream failed", collection=collection)
            await asyncio.sleep(_STREAM_AGAIN_SECONDS)
