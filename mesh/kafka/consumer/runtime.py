"""The consumer that services use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

import structlog
from kafka import TopicPartition

from mesh.kafka.consumer.lanes import Handler, LaneDispatcher, Work
from mesh.kafka.consumer.offsets import OffsetLedger, PartitionLag
from mesh.kafka.consumer.options import ConsumerOptions
from mesh.kafka.consumer.poller import Poller
from mesh.kafka.consumer.session import ConsumerSession
from mesh.kafka.dead_letters import DeadLetterSink
from mesh.kafka.errors import default_is_transient

_log = structlog.get_logger(__name__)

_END_SECONDS: Final = 15.0


class ConsumerRuntime:
    """A member of a consumer group that runs a handler for every record, at least once.

    The handler gets raw records. Those of one key in one partition come strictly one after the
    other, different keys side by side. What it raises decides:

    - nothing: the record is done.
    - `PoisonRecord`: it goes to the dead letters at once.
    - `RetryLater`, or an error for which `is_transient` is true: it is tried again for ever, with
      growing waits; the records of its key wait behind it, and are never dead letters for that.
    - any other `Exception`: it is tried `max_attempts` times, then goes to the dead letters.

    A record counts as done only when its handler returned or its dead letter was acknowledged, and
    an offset is committed only when everything below it is done. So a record may come again, after
    a crash, a rebalance or a lost commit, and a handler must act once for the same event. If the
    broker comes back without its log, the consumer begins at the start of the new one.
    """

    def __init__(
        self,
        bootstrap: str,
        group_id: str,
        topics: Sequence[str],
        handler: Handler,
        dead_letters: DeadLetterSink,
        *,
        options: ConsumerOptions | None = None,
        is_transient: Callable[[BaseException], bool] = default_is_transient,
    ) -> None:
        """Takes what to consume and what to do with it; nothing is opened yet.

        Args:
            bootstrap: Kafka bootstrap servers, `host:port[,…]`.
            group_id: The consumer group; its members share the partitions.
            topics: What to read, from the beginning if the group has not committed yet.
            handler: Handles one record, in the event loop that `start` is called in.
            dead_letters: Takes the records that cannot be handled.
            options: Settings.
            is_transient: Tells errors that pass by themselves from errors of the record.
        """
        self._bootstrap = bootstrap
        self._group_id = group_id
        self._topics = tuple(topics)
        self._options = options or ConsumerOptions()
        self._ledger = OffsetLedger()
        self._lanes = LaneDispatcher(
            handler, dead_letters, self._ledger, is_transient, self._options
        )
        self._poller: Poller | None = None

    async def start(self) -> None:
        """Begins to consume in the background; the group is joined as soon as a broker answers."""
        bridge = _Bridge(asyncio.get_running_loop(), self._lanes)

        def make_session() -> ConsumerSession:
            return ConsumerSession(
                self._bootstrap,
                self._group_id,
                self._topics,
                options=self._options,
                ledger=self._ledger,
                lanes=bridge,
            )

        def after_session() -> None:
            self._ledger.forget()
            with suppress(RuntimeError, TimeoutError):
                bridge.drop(None, 0.0).result(timeout=self._options.revoke_grace)

        self._poller = Poller(f"{self._group_id}-poller", make_session, after_session)
        self._poller.start()

    async def stop(self, grace: float = 10.0) -> None:
        """Takes no more records, lets handlers finish, commits and leaves the group.

        Args:
            grace: Seconds that handlers under way may take; then they are cancelled, and their
                records come again.
        """
        if self._poller is None:
            return
        self._poller.drain()
        await self._lanes.drain(grace)
        if not await asyncio.to_thread(self._poller.end, _END_SECONDS):
            _log.error("the Kafka polling thread does not end", group=self._group_id)
        self._poller = None

    def healthy(self) -> bool:
        """Whether the polling thread is alive and takes its turns.

        False after `start` means that it hangs for good: the process should end itself. A broker
        that is away does not make the consumer unhealthy.
        """
        poller = self._poller
        return poller is not None and poller.alive and poller.beat_age < self._options.watchdog

    def last_poll_age(self) -> float:
        """Seconds since the polling thread last took a turn; infinite if it is not started."""
        return float("inf") if self._poller is None else self._poller.beat_age

    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that this member owns now; empty until it has joined the group."""
        return frozenset() if self._poller is None else self._poller.assigned

    def lag(self) -> Mapping[TopicPartition, PartitionLag]:
        """How far this member is on each of its partitions, at most a second ago."""
        return {} if self._poller is None else self._poller.lag


class _Bridge:
    """Carries calls of the polling and I/O threads into the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lanes: LaneDispatcher) -> None:
        self._loop = loop
        self._lanes = lanes

    def submit(self, works: Sequence[Work]) -> None:
        self._loop.call_soon_threadsafe(self._lanes.submit, works)

    def drop(self, partitions: Collection[TopicPartition] | None, grace: float) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(self._lanes.drop(partitions, grace), self._loop)
