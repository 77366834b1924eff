"""How a batch is split into chunks that are written together or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mesh.kafka.record import OutgoingRecord

MAX_RECORD_BYTES: Final = 1024 * 1024
CHUNK_BYTES: Final = 512 * 1024
CHUNK_RECORDS: Final = 1000
_OVERHEAD_BYTES: Final = 64


def chunks(records: Sequence[OutgoingRecord]) -> Iterator[tuple[int, int]]:
    """Splits a batch so that no chunk can overflow a producer batch of one partition.

    Yields:
        Where each chunk starts and where it stops.
    """
    start = size = 0
    for index, record in enumerate(records):
        size_of_record = record_size(record)
        if index > start and (
            size + size_of_record > CHUNK_BYTES or index - start >= CHUNK_RECORDS
        ):
            yield start, index
            start, size = index, 0
        size += size_of_record
    if records:
        yield start, len(records)


def record_size(record: OutgoingRecord) -> int:
    """Estimates the bytes that a record takes in a producer batch, from above."""
    headers = sum(len(name.encode()) + len(value) + 8 for name, value in record.headers)
    return len(record.key) + len(record.value or b"") + headers + _OVERHEAD_BYTES
