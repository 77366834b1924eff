"""Makes kafka-python's consumer, and translates its records and offsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

from mesh.kafka.client import ClientHolder
from mesh.kafka.consumer.options import ConsumerOptions
from mesh.kafka.consumer.rebalance import WatchfulAssignor
from mesh.kafka.record import IncomingRecord

_MAX_POLL_RECORDS: Final = 200
_BOOTSTRAP_MS: Final = 5_000
_REQUEST_MS: Final = 10_000
_METADATA_MAX_AGE_MS: Final = 5_000
# Tansu answers a waiting fetch only when its time is over, so this bounds an event's delay there;
# Kafka answers at once.
_FETCH_WAIT_MS: Final = 100


def build_consumer(
    bootstrap: str,
    group_id: str,
    options: ConsumerOptions,
    assignor: WatchfulAssignor,
    holder: ClientHolder,
) -> KafkaConsumer:
    """Makes a consumer that has not subscribed yet.

    Raises:
        KafkaError: No broker answers, or it refuses.
    """
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


def to_kafka(offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    """Makes offsets of ours ready to be committed."""
    return {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}


def from_kafka(raw: Any) -> IncomingRecord:
    """Makes a record of ours from a ConsumerRecord."""
    return IncomingRecord(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        key=raw.key,
        value=raw.value,
        headers={name: value or b"" for name, value in raw.headers or ()},
        timestamp_ms=-1 if raw.timestamp is None else raw.timestamp,
    )
