"""Where records go that nobody can handle, and what is written on them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from kafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from mesh.kafka.producer import EventPublisher
from mesh.kafka.record import IncomingRecord, OutgoingRecord
from mesh.kafka.topics import DEAD_LETTERS

_MAX_REASON_BYTES: Final = 1024
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a dead letter comes from and why it died.

    It travels in headers `dlq_<attribute>`, as text.

    Attributes:
        topic: The topic the record was read from.
        partition: The partition.
        offset: The offset.
        timestamp_ms: The record's own time, Unix milliseconds.
        group: The consumer group that gave it up.
        reason: For a person.
        error_type: The class of the last error.
        attempts: How many times a handler has tried it.
        failed_at_ms: When it was given up, Unix milliseconds.
        value_bytes: Size of the original value if it had to be left behind because the dead letter
            would have been too large; otherwise -1. It can still be read at its origin.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    group: str
    reason: str
    error_type: str
    attempts: int
    failed_at_ms: int
    value_bytes: int = -1

    def to_headers(self) -> tuple[tuple[str, bytes], ...]:
        """Returns the headers that describe it."""
        reason = self.reason.encode(errors="replace")[:_MAX_REASON_BYTES]
        return (
            ("dlq_topic", self.topic.encode()),
            ("dlq_partition", b"%d" % self.partition),
            ("dlq_offset", b"%d" % self.offset),
            ("dlq_timestamp_ms", b"%d" % self.timestamp_ms),
            ("dlq_group", self.group.encode()),
            ("dlq_reason", reason.decode(errors="ignore").encode()),
            ("dlq_error_type", self.error_type.encode()),
            ("dlq_attempts", b"%d" % self.attempts),
            ("dlq_failed_at_ms", b"%d" % self.failed_at_ms),
            ("dlq_value_bytes", b"%d" % self.value_bytes),
        )

    @classmethod
    def from_headers(cls, headers: Mapping[str, bytes]) -> Provenance:
        """Reads it back.

        Raises:
            ValueError: The headers are not those of a dead letter.
        """
        try:
            return cls(
                topic=headers["dlq_topic"].decode(),
                partition=int(headers["dlq_partition"]),
                offset=int(headers["dlq_offset"]),
                timestamp_ms=int(headers["dlq_timestamp_ms"]),
                group=headers["dlq_group"].decode(),
                reason=headers["dlq_reason"].decode(),
                error_type=headers["dlq_error_type"].decode(),
                attempts=int(headers["dlq_attempts"]),
                failed_at_ms=int(headers["dlq_failed_at_ms"]),
                value_bytes=int(headers["dlq_value_bytes"]),
            )
        except KeyError as error:
            raise ValueError(f"not a dead letter: no header {error}") from error


class DeadLetterSink(Protocol):
    """Takes records that cannot be handled."""

    async def bury(
        self, record: IncomingRecord, *, reason: str, error_type: str, attempts: int
    ) -> None:
        """Keeps a record safe; returns only once it is.

        Raises:
            Exception: It is not safe; the runtime will try again until it is.
        """


class KafkaDeadLetters:
    """Sends dead letters to a topic: the original key, value and headers, and the provenance.

    A record that was published without a key gets an empty one.
    """

    def __init__(
        self, publisher: EventPublisher, group_id: str, *, topic: str = DEAD_LETTERS
    ) -> None:
        """Takes a publisher that somebody else starts and closes.

        Args:
            publisher: How to send.
            group_id: The consumer group on whose behalf.
            topic: Where to.
        """
        self._publisher = publisher
        self._group_id = group_id
        self._topic = topic

    async def bury(
        self, record: IncomingRecord, *, reason: str, error_type: str, attempts: int
    ) -> None:
        """Publishes the dead letter; without its value if the broker would not take it whole."""
        provenance = Provenance(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            group=self._group_id,
            reason=reason,
            error_type=error_type,
            attempts=attempts,
            failed_at_ms=int(time.time() * 1000),
        )
        error = await self._send(record, provenance, record.value)
        if isinstance(error, _TOO_LARGE) and record.value is not None:
            stripped = replace(provenance, value_bytes=len(record.value))
            error = await self._send(record, stripped, b"")
        if error is not None:
            raise error

    async def _send(
        self, record: IncomingRecord, provenance: Provenance, value: bytes | None
    ) -> BaseException | None:
        letter = OutgoingRecord(
            topic=self._topic,
            key=record.key or b"",
            value=value,
            headers=(*record.headers.items(), *provenance.to_headers()),
        )
        (error,) = await self._publisher.publish([letter])
        return error
