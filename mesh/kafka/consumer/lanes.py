"""The asyncio side of a consumer: one lane per key, retries, dead letters."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from kafka import TopicPartition

from mesh.kafka.consumer.offsets import OffsetLedger, OffsetTracker
from mesh.kafka.consumer.options import ConsumerOptions
from mesh.kafka.dead_letters import DeadLetterSink
from mesh.kafka.errors import PoisonRecord, RetryLater
from mesh.kafka.record import IncomingRecord

_log = structlog.get_logger(__name__)

Handler = Callable[[IncomingRecord], Awaitable[None]]
_CANCEL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """A record on its way to the handler.

    Attributes:
        record: The record.
        tracker: Where to report that it is finished.
    """

    record: IncomingRecord
    tracker: OffsetTracker


@dataclass(frozen=True, slots=True)
class _Verdict:
    reason: str
    error_type: str


@dataclass(slots=True, eq=False)
class _Lane:
    """The records of one key in one partition; only the first is being worked on.

    `attempts` counts the failures that may end in a dead letter, `waits` all failures in a row;
    `verdict` is set once the first record is to be buried and nothing else.
    """

    key: tuple[TopicPartition, bytes | None]
    works: deque[Work] = field(default_factory=deque)
    attempts: int = 0
    waits: int = 0
    verdict: _Verdict | None = None
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    dropped: bool = False


class LaneDispatcher:
    """Runs handlers: records of one key strictly in order, different keys side by side.

    A lane that waits for its next attempt holds no place among the running, so keys in trouble do
    not keep the others from being handled. Lives in one event loop and is not thread-safe.
    """

    def __init__(
        self,
        handler: Handler,
        dead_letters: DeadLetterSink,
        ledger: OffsetLedger,
        is_transient: Callable[[BaseException], bool],
        options: ConsumerOptions,
    ) -> None:
        """Takes what to do with a record and where to report.

        Args:
            handler: Handles one record; see `ConsumerRuntime`.
            dead_letters: Takes the records that cannot be handled.
            ledger: Told of every finished offset.
            is_transient: Tells errors that pass from errors of the record.
            options: Concurrency, attempts and waits.
        """
        self._handler = handler
        self._dead_letters = dead_letters
        self._ledger = ledger
        self._is_transient = is_transient
        self._options = options
        self._lanes: dict[tuple[TopicPartition, bytes | None], _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._running = 0
        self._closed = False

    def submit(self, works: Sequence[Work]) -> None:
        """Takes records in the order of their offsets; after `drain` they are ignored."""
        if self._closed:
            return
        for work in works:
            record = work.record
            key = (TopicPartition(record.topic, record.partition), record.key)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = _Lane(key)
                self._ready.append(lane)
            lane.works.append(work)
        self._fill()

    async def drop(self, partitions: Collection[TopicPartition] | None, grace: float) -> None:
        """Forgets the records of partitions that are no longer ours; None: of all.

        Returns once no handler works on them any more: those under way have `grace` seconds to
        finish, then they are cancelled.
        """
        await self._drop(
            [
                lane
                for lane in self._lanes.values()
                if partitions is None or lane.key[0] in partitions
            ],
            grace,
        )

    async def drain(self, grace: float) -> None:
        """Takes no more records; handlers under way have `grace` seconds, the rest is dropped."""
        self._closed = True
        await self._drop(list(self._lanes.values()), grace)

    async def _drop(self, lanes: Collection[_Lane], grace: float) -> None:
        for lane in lanes:
            lane.dropped = True
            del self._lanes[lane.key]
            if lane.timer is not None:
                lane.timer.cancel()
        tasks = [lane.task for lane in lanes if lane.task is not None]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            task.cancel()
        if late:
            _, stuck = await asyncio.wait(late, timeout=_CANCEL_SECONDS)
            _log.warning("handlers were cancelled", count=len(late), stuck=len(stuck))

    def _fill(self) -> None:
        while self._ready and self._running < self._options.concurrency:
            lane = self._ready.popleft()
            if not lane.dropped:
                self._running += 1
                lane.task = asyncio.create_task(self._run(lane))

    async def _run(self, lane: _Lane) -> None:
        work = lane.works[0]
        try:
            delay = await self._attempt(lane, work.record)
        finally:
            self._running -= 1
            lane.task = None
            self._fill()
        if delay is not None:
            if not lane.dropped:
                loop = asyncio.get_running_loop()
                lane.timer = loop.call_later(delay, self._requeue, lane)
            return
        self._ledger.finish(work.tracker, work.record.offset)
        if lane.dropped:
            return
        lane.works.popleft()
        lane.attempts = lane.waits = 0
        lane.verdict = None
        if lane.works:
            self._requeue(lane)
        else:
            del self._lanes[lane.key]

    def _requeue(self, lane: _Lane) -> None:
        lane.timer = None
        self._ready.append(lane)
        self._fill()

    async def _attempt(self, lane: _Lane, record: IncomingRecord) -> float | None:
        """Tries to get a record done.

        Returns:
            None when it is handled or buried, else the seconds to wait before the next attempt.
        """
        try:
            if lane.verdict is None:
                lane.verdict = await self._handle(lane, record)
            if lane.verdict is not None:
                await self._bury(lane, lane.verdict, record)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return self._wait(lane, record, error)  # something the handler awaited was cancelled
        except Exception as error:
            return self._wait(lane, record, error)
        return None

    async def _handle(self, lane: _Lane, record: IncomingRecord) -> _Verdict | None:
        """Runs the handler.

        Returns:
            None when the record is handled, a verdict when it is to be buried.

        Raises:
            Exception: It should be tried again.
        """
        try:
            await self._handler(record)
        except PoisonRecord as error:
            lane.attempts += 1
            return _Verdict(error.reason, type(error).__name__)
        except Exception as error:
            if isinstance(error, RetryLater) or self._is_transient(error):
                raise
            lane.attempts += 1
            if lane.attempts < self._options.max_attempts:
                raise
            return _Verdict(f"{type(error).__name__}: {error}", type(error).__name__)
        return None

    async def _bury(self, lane: _Lane, verdict: _Verdict, record: IncomingRecord) -> None:
        await self._dead_letters.bury(
            record,
            reason=verdict.reason,
            error_type=verdict.error_type,
            attempts=lane.attempts,
        )
        _log.error(
            "record became a dead letter",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=verdict.error_type,
            attempts=lane.attempts,
        )

    def _wait(self, lane: _Lane, record: IncomingRecord, error: BaseException) -> float:
        lane.waits += 1
        if lane.waits & (lane.waits - 1) == 0:  # the 1st, 2nd, 4th, 8th … time
            _log.warning(
                "record will be tried again",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=type(error).__name__,
                failures=lane.waits,
            )
        return self._options.backoff.seconds(lane.waits)
