"""Who listens right now, in this process, and how they learn that there is news.

A notification planned by this process wakes its listeners at once. One planned by another replica
is found by a sweep: one query for all listeners together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

import structlog
from pymongo.errors import PyMongoError

from mesh.background import end_background
from mesh.telemetry.spans import untraced_database

_log = structlog.get_logger(__name__)

LastSequences = Callable[[Collection[str]], Awaitable[Mapping[str, int]]]
"""Returns the newest sequence number of each of these users; of users without any, nothing."""


class LiveSubscription:
    """One device's wait for news; fills the port `notify_svc.service.Subscription`.

    Attributes:
        position: The sequence number up to which the device has been told.
    """

    def __init__(self, draining: asyncio.Event) -> None:
        """Takes what is set when the stream must end."""
        self.position = 0
        self._draining = draining
        self._news = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the stream must end."""
        return self._draining.is_set()

    def wake(self) -> None:
        """Ends the wait."""
        self._news.set()

    async def wait(self, seconds: float) -> bool:
        """Waits until there may be news or the stream must end; False if the time ran out."""
        if self.ended:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class LiveHub:
    """The listeners of this process; fills the port `notify_svc.service.Live`."""

    def __init__(
        self,
        last_sequences: LastSequences,
        *,
        draining: asyncio.Event,
        sweep_seconds: float = 1.0,
    ) -> None:
        """Takes where to look and how often.

        Args:
            last_sequences: One query for all listeners.
            draining: Set when every stream must end.
            sweep_seconds: How soon news of other replicas is noticed.
        """
        self._last_sequences = last_sequences
        self._draining = draining
        self._sweep_seconds = sweep_seconds
        self._listeners: dict[str, set[LiveSubscription]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.contextmanager
    def subscribe(self, user_id: str) -> Iterator[LiveSubscription]:
        """Registers a device for as long as the context lasts."""
        subscription = LiveSubscription(self._draining)
        self._listeners.setdefault(user_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            listeners = self._listeners[user_id]
            listeners.discard(subscription)
            if not listeners:
                del self._listeners[user_id]

    def wake(self, user_id: str) -> None:
        """Tells a person's devices that there may be news."""
        for subscription in self._listeners.get(user_id, ()):
            subscription.wake()

    async def start(self) -> None:
        """Begins to sweep, and to watch for the end."""
        self._tasks = [
            asyncio.create_task(self._sweep(), name="live-sweep"),
            asyncio.create_task(self._end_with_server(), name="live-end"),
        ]

    async def stop(self) -> None:
        """Ends the sweep."""
        tasks, self._tasks = self._tasks, []
        await end_background(tasks)

    async def _end_with_server(self) -> None:
        await self._draining.wait()
        for user_id in self._listeners:
            self.wake(user_id)

    async def _sweep(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(self._sweep_seconds)
            if not self._listeners:
                continue
            try:
                with untraced_database():
                    newest = await self._last_sequences(list(self._listeners))
                failing = False
            except PyMongoError as error:
                if not failing:
                    _log.warning("sweep waits for the database", error=type(error).__name__)
                failing = True
                continue
            except Exception:
                # Streams would miss the news of other replicas while they seem well.
                _log.exception("sweep failed")
                continue
            for user_id, sequence in newest.items():
                for subscription in self._listeners.get(user_id, ()):
                    if subscription.position < sequence:
                        subscription.wake()
