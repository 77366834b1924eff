"""Which offsets are finished, and how far a commit may go."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kafka import TopicPartition


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a consumer is on one partition. All are offsets of the next record.

    Attributes:
        committed: The group's committed offset, from which another member would go on.
        position: The next record to be fetched; what lies between is in memory.
        end: The next record to be published, as of the last fetch.
    """

    committed: int
    position: int
    end: int

    @property
    def records(self) -> int:
        """Records that are published and not yet known to be handled."""
        return max(0, self.end - self.committed)


class OffsetTracker:
    """One partition's offsets between hand-over and commit.

    Records finish in any order; a commit may only cover those below the lowest unfinished one.
    Offsets may have gaps, as compaction leaves them. Not thread-safe: see `OffsetLedger`.
    """

    def __init__(self, position: int) -> None:
        """Begins at the offset that is handed over first."""
        self._end = position
        self._open: OrderedDict[int, bool] = OrderedDict()  # offset → finished, in order

    @property
    def committable(self) -> int:
        """The offset to commit: everything below it is finished."""
        return next(iter(self._open), self._end)

    @property
    def pending(self) -> int:
        """How many records were handed over at or above `committable`."""
        return len(self._open)

    def hand_over(self, offset: int) -> None:
        """Notes that a record goes to its handler.

        Raises:
            ValueError: The offset does not lie above all earlier ones.
        """
        if offset < self._end:
            raise ValueError(f"offset {offset} comes after {self._end - 1}")
        self._open[offset] = False
        self._end = offset + 1

    def finish(self, offset: int) -> None:
        """Notes that a record is handled or buried.

        Raises:
            ValueError: The offset is not open.
        """
        if self._open.get(offset, True):
            raise ValueError(f"offset {offset} is not open")
        self._open[offset] = True
        while self._open and self._open[next(iter(self._open))]:
            self._open.popitem(last=False)


class OffsetLedger:
    """The trackers of all partitions that a consumer owns.

    Three threads meet here: the polling thread hands over and commits, the event loop finishes,
    and kafka-python's I/O thread commits what is revoked. A tracker that was forgotten may still
    be finished by a handler that ran on; that changes nothing that could be committed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trackers: dict[TopicPartition, OffsetTracker] = {}
        self._committed: dict[TopicPartition, int] = {}

    def hand_over(self, partition: TopicPartition, offset: int) -> OffsetTracker:
        """Notes that a record goes to its handler; returns the tracker to finish it with."""
        with self._lock:
            tracker = self._trackers.get(partition)
            if tracker is None:
                tracker = self._trackers[partition] = OffsetTracker(offset)
            tracker.hand_over(offset)
            return tracker

    def finish(self, tracker: OffsetTracker, offset: int) -> None:
        """Notes that a record is handled or buried."""
        with self._lock:
            tracker.finish(offset)

    def pending(self, partition: TopicPartition) -> int:
        """Returns how many records of a partition keep its commit from advancing, or wait."""
        with self._lock:
            tracker = self._trackers.get(partition)
            return 0 if tracker is None else tracker.pending

    def uncommitted(
        self, partitions: Collection[TopicPartition] | None = None
    ) -> dict[TopicPartition, int]:
        """Returns the offsets to commit, of these or of all partitions; those that moved only."""
        with self._lock:
            return {
                partition: tracker.committable
                for partition, tracker in self._trackers.items()
                if (partitions is None or partition in partitions)
                and self._committed.get(partition) != tracker.committable
            }

    def mark_committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Notes what the broker has acknowledged, where the partition is still owned."""
        with self._lock:
            for partition, offset in offsets.items():
                if partition in self._trackers:
                    self._committed[partition] = offset

    def committed(self, partition: TopicPartition) -> int | None:
        """Returns the last offset that the broker has acknowledged; None if nothing moved yet."""
        with self._lock:
            return self._committed.get(partition)

    def forget(self, partitions: Collection[TopicPartition] | None = None) -> None:
        """Gives up these or all partitions: nothing of them will be committed."""
        with self._lock:
            for partition in list(self._trackers) if partitions is None else partitions:
                self._trackers.pop(partition, None)
                self._committed.pop(partition, None)
