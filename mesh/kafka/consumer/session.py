"""One KafkaConsumer from its making to its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, Protocol

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.net.selector import KernelEvent
from kafka.structs import MemberState

from mesh.kafka.client import ClientHolder
from mesh.kafka.consumer.factory import build_consumer, from_kafka, to_kafka
from mesh.kafka.consumer.lanes import Work
from mesh.kafka.consumer.offsets import OffsetLedger, PartitionLag
from mesh.kafka.consumer.options import ConsumerOptions
from mesh.kafka.consumer.origins import Origins, SessionLostError
from mesh.kafka.consumer.rebalance import RebalanceListener, WatchfulAssignor
from mesh.kafka.topics import ensure_topics_blocking, spec_of

_log = structlog.get_logger(__name__)

_POLL_MS: Final = 250
_BUSY_POLL_MS: Final = 40  # while a partition is paused, so that it is resumed soon
_MEASURE_SECONDS: Final = 1.0
_TOPICS_SECONDS: Final = 5.0
_METADATA_SECONDS: Final = 5.0
_SETTLE_SECONDS: Final = 1.0
_JOIN_SECONDS: Final = 5.0
_COMMIT_MS: Final = 2_000
_CLOSE_MS: Final = 3_000


class Lanes(Protocol):
    """The way to the event loop's side; its calls may come from any thread."""

    def submit(self, works: Sequence[Work]) -> None:
        """Hands records over."""

    def drop(self, partitions: Collection[TopicPartition] | None, grace: float) -> Future[None]:
        """Forgets what waits for these or all partitions; done once no handler works on them."""


class ConsumerSession:
    """A member of a consumer group. Used by one thread; rebalances run on kafka-python's own."""

    def __init__(
        self,
        bootstrap: str,
        group_id: str,
        topics: Sequence[str],
        *,
        options: ConsumerOptions,
        ledger: OffsetLedger,
        lanes: Lanes,
    ) -> None:
        """Sees to it that the topics exist, and connects; that may take seconds.

        The group is joined during the first turns.

        Raises:
            OSError, KafkaError, TopicSetupError: No broker answers, or it refuses.
        """
        self._options = options
        self._ledger = ledger
        self._lanes = lanes
        self._holder = ClientHolder()
        self._origins = Origins(self._holder)
        self._assignor = WatchfulAssignor(self._origins.verify)
        self._lost = False
        self._commit_at = 0.0
        self._measure_at = 0.0
        self._lag: Mapping[TopicPartition, PartitionLag] = {}
        ensure_topics_blocking(bootstrap, [spec_of(topic) for topic in topics], _TOPICS_SECONDS)
        try:
            self._consumer = build_consumer(
                bootstrap, group_id, options, self._assignor, self._holder
            )
            self._consumer.subscribe(topics=list(topics), listener=RebalanceListener(self))
            self._await_metadata(set(topics))
        except BaseException:
            self._holder.close()
            raise

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours."""
        return frozenset(self._consumer.assignment())

    @property
    def lag(self) -> Mapping[TopicPartition, PartitionLag]:
        """How far each of our partitions is, as of a second ago."""
        return self._lag

    def turn(self, *, draining: bool) -> None:
        """Polls once, hands records over, commits.

        Args:
            draining: Stay in the group and commit, but take no more records.

        Raises:
            SessionLostError: The broker has lost its log, or the member its place in the group.
            KafkaError: The session is of no more use.
        """
        busy = draining or bool(self._consumer.paused())
        self._unpark()
        try:
            polled = self._consumer.poll(timeout_ms=_BUSY_POLL_MS if busy else _POLL_MS)
            assigned = self._consumer.assignment()
            self._verify(assigned)
        except SessionLostError:
            self._lost = True
            raise
        if not draining:
            self._hand_over(polled)
        self._throttle(assigned, draining=draining)
        now = time.monotonic()
        if now >= self._commit_at:
            self._commit_at = now + self._options.commit_interval
            self._commit()
        if now >= self._measure_at:
            self._measure_at = now + _MEASURE_SECONDS
            self._measure(assigned)

    def close(self) -> None:
        """Commits what is finished unless the session is lost, leaves, closes connections."""
        # A member that leaves while it joins stays the leader of its group in Tansu, and nobody
        # can join again; so the joining comes first, and if it does not end, no leaving.
        deadline = time.monotonic() + (0.0 if self._lost else _JOIN_SECONDS)
        with contextlib.suppress(KafkaError, SessionLostError):
            while self._joining() and time.monotonic() < deadline:
                self._consumer.poll(timeout_ms=_BUSY_POLL_MS)
        if not self._joining():
            deadline = time.monotonic() + (0.0 if self._lost else _SETTLE_SECONDS)
            while self._origins.in_doubt() and time.monotonic() < deadline:
                time.sleep(0.01)
            self._commit()
            with contextlib.suppress(KafkaError):
                self._consumer.close(timeout_ms=_CLOSE_MS)
        self._holder.close()

    async def give_up(self, partitions: Collection[TopicPartition]) -> None:
        """Lets handlers finish and commits, before partitions go to another member.

        Runs on kafka-python's I/O thread, while the polling thread waits in poll or close.
        """
        await self._empty(partitions, 0.0 if self._lost else self._options.revoke_grace)
        deadline = time.monotonic() + (0.0 if self._lost else _SETTLE_SECONDS)
        while self._origins.in_doubt() and time.monotonic() < deadline:
            await _nap()  # the leader of the group has just asked for metadata
        offsets = self._committable(partitions)
        if offsets:
            try:
                await self._consumer.commit_async(to_kafka(offsets))
            except KafkaError as error:
                _log.info("offsets cannot be committed now", error=type(error).__name__)
        self._forget(partitions)

    async def lose(self, partitions: Collection[TopicPartition]) -> None:
        """Drops everything of partitions that may belong to another member already.

        Runs on kafka-python's I/O thread, while the polling thread waits in poll or close.
        """
        self._assignor.forget()
        await self._empty(partitions, 0.0)
        self._forget(partitions)

    def _await_metadata(self, topics: set[str]) -> None:
        """Waits until the topics are known: a member that joins without them joins twice."""
        deadline = time.monotonic() + _METADATA_SECONDS
        while not topics <= self._holder.cluster.topics():
            if time.monotonic() > deadline:
                raise KafkaTimeoutError(f"no metadata of {', '.join(sorted(topics))}")
            time.sleep(0.01)

    def _joining(self) -> bool:
        return self._consumer.group_metadata().state is MemberState.REBALANCING

    def _verify(self, assigned: Collection[TopicPartition]) -> None:
        """Finds out whether positions still mean something, and notes where new ones come from.

        Raises:
            SessionLostError: They do not.
        """
        self._origins.verify()
        group = self._consumer.group_metadata()
        if group.state is MemberState.STABLE:
            self._origins.note(assigned, group.member_id)
        elif self._joining() and not self._consumer._coordinator.need_rejoin():
            # kafka-python abandons a joining that changed metadata began, when the metadata changes
            # back or when poll's time ends between its two requests: no heartbeats, no commits,
            # for ever.
            raise SessionLostError("joining the group was abandoned half way")

    def _unpark(self) -> None:
        """Lets kafka-python deliver what it fetched of a partition before that was paused.

        It would move such records to a slot once that is None, but leaves the batch it delivered
        last there, exhausted; so they and everything after them would never come.
        """
        fetcher = self._consumer._fetcher
        if not fetcher._next_partition_records:
            fetcher._next_partition_records = None

    def _hand_over(self, polled: Mapping[TopicPartition, Sequence[Any]]) -> None:
        works = [
            Work(from_kafka(raw), self._ledger.hand_over(partition, raw.offset))
            for partition, raws in polled.items()
            for raw in raws
        ]
        if works:
            self._lanes.submit(works)

    def _throttle(self, assigned: Collection[TopicPartition], *, draining: bool) -> None:
        limit = self._options.pending_per_partition
        paused = self._consumer.paused()
        for partition in assigned:
            pending = self._ledger.pending(partition)
            if partition in paused:
                if pending <= limit // 2 and not draining:
                    self._consumer.resume(partition)
            elif draining or pending >= limit:
                self._consumer.pause(partition)

    def _committable(
        self, partitions: Collection[TopicPartition] | None
    ) -> dict[TopicPartition, int]:
        group = self._consumer.group_metadata()
        if self._lost or group.state is not MemberState.STABLE:
            return {}
        return {
            partition: offset
            for partition, offset in self._ledger.uncommitted(partitions).items()
            if self._origins.vouch_for(partition, group.member_id)
        }

    def _commit(self) -> None:
        offsets = self._committable(None)
        if not offsets:
            return
        try:
            self._consumer.commit(to_kafka(offsets), timeout_ms=_COMMIT_MS)
        except KafkaError as error:
            # The group rebalances or its coordinator is away: the next commit covers these too.
            _log.info("offsets cannot be committed now", error=type(error).__name__)
        else:
            self._ledger.mark_committed(offsets)

    def _measure(self, assigned: Collection[TopicPartition]) -> None:
        lag = {}
        for partition in assigned:
            end = self._consumer.highwater(partition)
            if end is not None:  # fetched at least once, so that asking for the position is free
                position = self._consumer.position(partition, timeout_ms=0)
                committed = self._ledger.committed(partition)
                if position is not None:
                    lag[partition] = PartitionLag(
                        position if committed is None else committed, position, end
                    )
        self._lag = lag

    async def _empty(self, partitions: Collection[TopicPartition], grace: float) -> None:
        dropped = self._lanes.drop(partitions, grace)
        deadline = time.monotonic() + grace + 2.0
        while not dropped.done() and time.monotonic() < deadline:
            await _nap()

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        self._ledger.forget(partitions)
        self._origins.forget(partitions)


async def _nap() -> None:
    await KernelEvent("_sleep", 0.005)  # in kafka-python's event loop, which is not asyncio's
