"""Records as they go to Kafka and as they come from it: bytes, not yet meaning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to publish.

    Attributes:
        topic: Where it goes.
        key: Chooses the partition; records of one topic and key stay in order.
        value: The payload; None is a tombstone in a compacted topic.
        headers: Names and values, in order; a name may occur twice.
    """

    topic: str
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class IncomingRecord:
    """A record as the broker delivered it.

    Attributes:
        topic: The topic it was read from.
        partition: The partition of that topic, from 0.
        offset: Its place in the partition.
        key: The key; None if it was published without one.
        value: The payload; None for a tombstone.
        headers: The last value of each name; a null value reads as empty.
        timestamp_ms: When it was made or appended, Unix milliseconds; -1 if unknown.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    timestamp_ms: int
