"""Publishers and consumers that are always stopped, and ways to look into the broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from kafka import KafkaConsumer, TopicPartition

from mesh.ids import new_id
from mesh.kafka.backoff import Backoff
from mesh.kafka.client import ClientHolder
from mesh.kafka.consumer import ConsumerOptions, ConsumerRuntime
from mesh.kafka.dead_letters import KafkaDeadLetters
from mesh.kafka.producer import EventPublisher
from mesh.kafka.record import IncomingRecord
from mesh.kafka.topics import DEAD_LETTERS, TopicSpec

OPTIONS = {
    "session_timeout_ms": 2000,  # Tansu holds a joining group for half of it
    "commit_interval": 0.2,
    "backoff": Backoff(first=0.02, longest=0.2),
}


class Spy:
    """Looks at topics and groups with a consumer that is a member of no group."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def log(self, topic: str) -> dict[int, list[IncomingRecord]]:
        """All records of a topic, by partition."""
        return await asyncio.to_thread(self._log, topic)

    async def committed(self, group: str, topic: str) -> dict[int, int | None]:
        """The committed offsets of a group, by partition."""
        return await asyncio.to_thread(self._committed, group, topic)

    def _consumer(self, group: str | None = None) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=group,
            enable_auto_commit=False,
            metrics_enabled=False,
            kafka_client=ClientHolder(),
        )

    def _log(self, topic: str) -> dict[int, list[IncomingRecord]]:
        consumer = self._consumer()
        try:
            partitions = [
                TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)
            ]
            consumer.assign(partitions)
            consumer.seek_to_beginning()
            found = {partition.partition: [] for partition in partitions}
            # Not end_offsets: Tansu answers with the beginning of the last batch, plus one.
            while any(
                consumer.highwater(partition) is None
                or consumer.position(partition) < consumer.highwater(partition)
                for partition in partitions
            ):
                for partition, records in consumer.poll(100).items():
                    found[partition.partition] += records
            return found
        finally:
            consumer.close()

    def _committed(self, group: str, topic: str) -> dict[int, int | None]:
        consumer = self._consumer(group)
        try:
            return {
                number: consumer.committed(TopicPartition(topic, number))
                for number in consumer.partitions_for_topic(topic)
            }
        finally:
            consumer.close()


@pytest.fixture
def spy() -> type[Spy]:
    """Looks into a broker: `spy(bootstrap)`."""
    return Spy


@pytest.fixture
def topic() -> str:
    """A topic of this test's own; publishers and consumers create it."""
    return f"test.{new_id().lower()}"


@pytest.fixture
async def publishers(topic: str) -> AsyncIterator[Callable[..., EventPublisher]]:
    """Makes started publishers that know the test's topic."""
    made: list[EventPublisher] = []

    async def make(bootstrap: str, **options: object) -> EventPublisher:
        options.setdefault("topics", (TopicSpec(topic), TopicSpec(DEAD_LETTERS)))
        publisher = EventPublisher(bootstrap, f"test-{len(made)}", **options)
        made.append(publisher)
        await publisher.start()
        return publisher

    yield make
    for publisher in made:
        await publisher.close(grace=0.0)


@pytest.fixture
async def consumers(topic: str) -> AsyncIterator[Callable[..., ConsumerRuntime]]:
    """Makes started members of the group named like the test's topic."""
    made: list[ConsumerRuntime] = []

    async def make(bootstrap, publisher, handler, *, dead_letters=None, **options):
        consumer = ConsumerRuntime(
            bootstrap,
            topic,
            [topic],
            handler,
            dead_letters or KafkaDeadLetters(publisher, topic),
            options=ConsumerOptions(**{**OPTIONS, **options}),
        )
        made.append(consumer)
        await consumer.start()
        return consumer

    yield make
    for consumer in made:
        await consumer.stop(grace=0.0)
