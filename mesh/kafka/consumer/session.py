"""One KafkaConsumer from its making to its end; who owns which partition."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError
from kafka.net.selector import KernelEvent
from kafka.structs import MemberState

from mesh.kafka.client import ClientHolder
from mesh.kafka.consumer.lanes import Work
from mesh.kafka.consumer.offsets import OffsetLedger, PartitionLag
from mesh.kafka.consumer.options import ConsumerOptions
from mesh.kafka.record import IncomingRecord

_log = structlog.get_logger(__name__)

_POLL_MS: Final = 250
_BUSY_POLL_MS: Final = 20  # while a partition is paused, so that it is resumed soon
_MAX_POLL_RECORDS: Final = 200
_BOOTSTRAP_MS: Final = 5_000
_REQUEST_MS: Final = 10_000
_COMMIT_MS: Final = 2_000
_CLOSE_MS: Final = 3_000
_METADATA_MAX_AGE_MS: Final = 10_000
# Tansu answers a waiting fetch only when its time is over, so this bounds an event's delay there;
# Kafka answers at once.
_FETCH_WAIT_MS: Final = 100
_MEASURE_SECONDS: Final = 1.0


class Lanes(Protocol):
    """The way to the event loop's side; its calls may come from any thread."""

    def submit(self, works: Sequence[Work]) -> None:
        """Hands records over."""

    def drop(self, partitions: Collection[TopicPartition] | None, grace: float) -> Future[None]:
        """Forgets what waits for these or all partitions; done once no handler works on them."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a position belongs to: the membership it was obtained under, and the very log.

    A member that was expelled, or a topic that was made anew, leaves positions behind that mean
    nothing any more, and kafka-python keeps them where a rejoining overtakes the bad news.
    """

    member_id: str
    topic_id: UUID | None


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
        """Connects, which may take seconds; the group is joined during the first turns.

        Raises:
            KafkaError: No broker answers, or it refuses.
        """
        self._options = options
        self._ledger = ledger
        self._lanes = lanes
        self._assignor = CooperativeStickyAssignor()
        self._holder = ClientHolder()
        self._origins: dict[TopicPartition, _Origin] = {}
        self._commit_at = 0.0
        self._measure_at = 0.0
        self._lag: Mapping[TopicPartition, PartitionLag] = {}
        try:
            self._consumer = _build_consumer(
                bootstrap, group_id, options, self._assignor, self._holder
            )
            self._consumer.subscribe(topics=list(topics), listener=_RebalanceListener(self))
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
            KafkaError: The session is of no more use.
        """
        busy = draining or bool(self._consumer.paused())
        polled = self._consumer.poll(timeout_ms=_BUSY_POLL_MS if busy else _POLL_MS)
        assigned = self._consumer.assignment()
        for partition in self._misplaced(assigned):
            polled.pop(partition, None)
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
        """Commits what is finished, leaves the group and closes connections."""
        self._commit()
        with contextlib.suppress(KafkaError):
            self._consumer.close(timeout_ms=_CLOSE_MS)
        self._holder.close()

    # The polling thread's part of a turn.

    def _hand_over(self, polled: Mapping[TopicPartition, Sequence[Any]]) -> None:
        works = [
            Work(_incoming(raw), self._ledger.hand_over(partition, raw.offset))
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

    def _commit(self) -> None:
        offsets = self._ledger.uncommitted()
        if not offsets:
            return
        try:
            self._consumer.commit(_to_kafka(offsets), timeout_ms=_COMMIT_MS)
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

    # Positions that have lost their meaning.

    def _misplaced(self, assigned: Collection[TopicPartition]) -> list[TopicPartition]:
        """Finds the partitions whose position belongs to another log or membership.

        They are put where the group should go on: records of this turn do not count.
        """
        group = self._consumer.group_metadata()
        if group.state is not MemberState.STABLE:
            return []
        misplaced = []
        for partition in assigned:
            topic_id = self._holder.cluster.topic_id(partition.topic)
            before = self._origins.get(partition)
            if before is not None and topic_id is None:
                topic_id = before.topic_id
            self._origins[partition] = origin = _Origin(group.member_id, topic_id)
            if before is None or before == origin:
                continue
            recreated = None not in (before.topic_id, topic_id) and before.topic_id != topic_id
            if recreated or before.member_id != group.member_id:
                self._reposition(partition, from_start=recreated)
                misplaced.append(partition)
        for partition in set(self._origins) - set(assigned):
            del self._origins[partition]
        return misplaced

    def _reposition(self, partition: TopicPartition, *, from_start: bool) -> None:
        _log.warning(
            "starting a partition again",
            topic=partition.topic,
            partition=partition.partition,
            why="the topic was created anew" if from_start else "the membership was lost",
        )
        self._lanes.drop({partition}, 0.0).result(timeout=self._options.revoke_grace)
        self._ledger.forget({partition})
        committed = None
        if not from_start:
            committed = self._consumer.committed(partition, timeout_ms=_REQUEST_MS)
        if committed is None:
            self._consumer.seek_to_beginning(partition)
        else:
            self._consumer.seek(partition, committed)

    # Rebalances, on kafka-python's I/O thread while the polling thread waits in poll or close.

    async def give_up(self, partitions: Collection[TopicPartition]) -> None:
        """Lets handlers finish and commits, before the partitions go to another member."""
        await self._empty(partitions, self._options.revoke_grace)
        offsets = {
            partition: offset
            for partition, offset in self._ledger.uncommitted(partitions).items()
            if self._is_ours(partition)
        }
        if offsets:
            try:
                await self._consumer.commit_async(_to_kafka(offsets))
            except KafkaError as error:
                _log.info("offsets cannot be committed now", error=type(error).__name__)
        self._forget(partitions)

    async def lose(self, partitions: Collection[TopicPartition]) -> None:
        """Drops everything: the partitions may belong to another member already."""
        # Otherwise kafka-python would claim at the next joining what it has just lost.
        self._assignor.member_assignment = None
        await self._empty(partitions, 0.0)
        self._forget(partitions)

    def _is_ours(self, partition: TopicPartition) -> bool:
        origin = self._origins.get(partition)
        return origin is not None and origin.member_id == self._consumer.group_metadata().member_id

    async def _empty(self, partitions: Collection[TopicPartition], grace: float) -> None:
        dropped = self._lanes.drop(partitions, grace)
        deadline = time.monotonic() + grace + 2.0
        while not dropped.done() and time.monotonic() < deadline:
            await KernelEvent("_sleep", 0.005)  # this is kafka-python's event loop, not asyncio's

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        self._ledger.forget(partitions)
        for partition in partitions:
            self._origins.pop(partition, None)


class _RebalanceListener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # untyped library
    """Tells a session what it gives up."""

    def __init__(self, session: ConsumerSession) -> None:
        self._session = session

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Nothing to do: positions are looked at after every poll."""

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """The member still owns them until this returns."""
        await self._session.give_up(revoked)

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        """The member was expelled."""
        await self._session.lose(lost)


def _build_consumer(
    bootstrap: str,
    group_id: str,
    options: ConsumerOptions,
    assignor: CooperativeStickyAssignor,
    holder: ClientHolder,
) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        client_id=options.client_id,
        group_id=group_id,
        group_instance_id=options.group_instance_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        partition_assignment_strategy=[assignor],
        session_timeout_ms=options.session_timeout_ms,
        heartbeat_interval_ms=min(3_000, options.session_timeout_ms // 6),
        max_poll_interval_ms=120_000,
        max_poll_records=_MAX_POLL_RECORDS,
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        request_timeout_ms=_REQUEST_MS,
        bootstrap_timeout_ms=_BOOTSTRAP_MS,
        metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        reconnect_backoff_max_ms=1_000,
        metrics_enabled=False,
        kafka_client=holder,
    )


def _to_kafka(offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}


def _incoming(raw: Any) -> IncomingRecord:
    return IncomingRecord(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        key=raw.key,
        value=raw.value,
        headers={name: value or b"" for name, value in raw.headers or ()},
        timestamp_ms=-1 if raw.timestamp is None else raw.timestamp,
    )
