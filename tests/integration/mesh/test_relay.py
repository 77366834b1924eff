"""The relay between a real MongoDB and a real Kafka broker, which also come and go."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from marquee.events.v1 import events_pb2
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from mesh.events import Event, new_event
from mesh.kafka.producer import EventPublisher
from mesh.kafka.topics import USER_EVENTS
from mesh.mongo.client import Document, Session, connect
from mesh.mongo.migrations import migrate
from mesh.outbox.relay import OutboxRelay
from mesh.outbox.store import OUTBOX_SPECS, Outbox

Client = AsyncMongoClient[Document]
Database = AsyncDatabase[Document]


def user_event(user_id: str, version: int) -> Event:
    return new_event("/test", user_id, version, events_pb2.UserChanged(version=version))


async def append(outbox: Outbox, events: Iterable[Event]) -> None:
    async def write(session: Session) -> None:
        await outbox.append(session, list(events))

    await outbox.transaction(write)


async def until_empty(outbox: Outbox, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while await outbox.depth():  # another process empties it
            await asyncio.sleep(0.05)


def _read(bootstrap: str, count: int, seconds: float) -> list[tuple[str, str, int]]:
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        found: list[tuple[str, str, int]] = []
        give_up_at = time.monotonic() + seconds
        partitions = [
            TopicPartition(USER_EVENTS, number)
            for number in sorted(consumer.partitions_for_topic(USER_EVENTS) or ())
        ]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        while len(found) < count and time.monotonic() < give_up_at:
            for records in consumer.poll(timeout_ms=300).values():
                for record in records:
                    headers = dict(record.headers)
                    version = events_pb2.UserChanged.FromString(record.value).version
                    found.append((record.key.decode(), headers["ce_id"].decode(), version))
        # What came too much would come now.
        for records in consumer.poll(timeout_ms=300).values():
            found += [(record.key.decode(), "surplus", -1) for record in records]
        return found
    finally:
        consumer.close()


async def read(bootstrap: str, count: int, seconds: float = 10) -> list[tuple[str, str, int]]:
    """Returns key, event id and version of the records of the topic, `count` or what came."""
    return await asyncio.to_thread(_read, bootstrap, count, seconds)


def by_key(found: Sequence[tuple[str, str, int]]) -> dict[str, list[int]]:
    versions: dict[str, list[int]] = defaultdict(list)
    for key, _, version in found:
        versions[key].append(version)
    return dict(versions)


@pytest.fixture
async def outbox(mongo_client: Client, mongo_database: Database) -> Outbox:
    """An empty outbox."""
    await migrate(mongo_database, OUTBOX_SPECS)
    return Outbox(mongo_client, mongo_database)


@pytest.fixture
async def publisher(private_kafka: Any) -> AsyncIterator[EventPublisher]:
    """A publisher to a broker of this test's own, which is not started yet."""
    publisher = EventPublisher(private_kafka.address, "test", delivery_timeout=3)
    await publisher.start()
    yield publisher
    await publisher.close()


@pytest.fixture
async def relay(publisher: EventPublisher) -> AsyncIterator[Callable[..., Any]]:
    """Starts relays."""
    async with AsyncExitStack() as stack:

        async def start(outbox: Outbox, owner: str = "a", **options: Any) -> OutboxRelay:
            started = OutboxRelay(outbox, publisher, owner, **options)
            await started.start()
            stack.push_async_callback(started.stop)
            return started

        yield start


async def test_rows_arrive_once_and_in_the_order_of_their_key(
    outbox: Outbox, private_kafka: Any, relay: Any
) -> None:
    private_kafka.start()
    await append(outbox, [user_event(f"u{v % 7}", v) for v in range(70)])
    await relay(outbox, batch=20)
    for version in range(70, 140, 10):
        await append(outbox, [user_event(f"u{v % 7}", v) for v in range(version, version + 10)])
    await until_empty(outbox)
    found = await read(private_kafka.address, 140)
    assert len(found) == 140
    assert by_key(found) == {f"u{n}": [v for v in range(140) if v % 7 == n] for n in range(7)}


async def test_a_commit_wakes_the_relay(outbox: Outbox, private_kafka: Any, relay: Any) -> None:
    private_kafka.start()
    await append(outbox, [user_event("u1", 1)])
    await relay(outbox, sweep_seconds=60)
    await until_empty(outbox)
    await asyncio.sleep(0.5)
    await append(outbox, [user_event("u1", 2)])
    await until_empty(outbox)


async def test_rows_wait_for_a_broker_that_is_away(
    outbox: Outbox, private_kafka: Any, relay: Any
) -> None:
    await relay(outbox)
    await append(outbox, [user_event("u1", version) for version in range(5)])
    await asyncio.sleep(1)
    assert await outbox.depth() == 5
    private_kafka.start()
    await until_empty(outbox)
    assert by_key(await read(private_kafka.address, 5)) == {"u1": [0, 1, 2, 3, 4]}


async def test_a_broker_that_comes_back_empty_gets_the_rest(
    outbox: Outbox, private_kafka: Any, relay: Any
) -> None:
    """What was acknowledged is lost with the broker; what was not must arrive, in order."""
    private_kafka.start()
    await relay(outbox, batch=20)
    await append(outbox, [user_event("u1", 0)])
    await until_empty(outbox)
    private_kafka.kill()
    for version in range(1, 41, 10):
        await append(outbox, [user_event(f"u{v % 3}", v) for v in range(version, version + 10)])
    await asyncio.sleep(0.5)
    assert await outbox.depth() == 40
    private_kafka.start()
    await until_empty(outbox, 30)
    found = by_key(await read(private_kafka.address, 40))
    # A batch whose acknowledgement was lost is sent again: compare what came first.
    assert {key: list(dict.fromkeys(versions)) for key, versions in found.items()} == {
        f"u{n}": [v for v in range(1, 41) if v % 3 == n] for n in range(3)
    }


async def test_a_broker_killed_in_full_flow_loses_nothing_that_it_did_not_acknowledge(
    outbox: Outbox, private_kafka: Any, relay: Any
) -> None:
    private_kafka.start()
    await relay(outbox, batch=10)

    async def write() -> None:
        for version in range(60):
            await append(outbox, [user_event(f"u{version % 3}", version)])

    writing = asyncio.create_task(write())
    while not await outbox.depth():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    private_kafka.kill()
    await writing
    await asyncio.sleep(0.3)
    waiting = {(row["key"], row["sequence"]) for row in await outbox.pending("", 100)}
    assert waiting
    private_kafka.start()
    await until_empty(outbox, 30)
    found = await read(private_kafka.address, len(waiting))
    assert {(key, version) for key, _, version in found} == waiting
    for versions in by_key(found).values():
        first_seen = list(dict.fromkeys(versions))
        assert first_seen == sorted(first_seen)


async def test_a_relay_killed_before_it_forgets_sends_again_with_the_same_id(
    outbox: Outbox, private_kafka: Any, relay: Any
) -> None:
    private_kafka.start()
    sent = asyncio.Event()

    class Dying(Outbox):
        async def remove(self, row_ids: Sequence[str]) -> None:
            sent.set()
            await asyncio.Event().wait()

    dying = Dying(outbox._client, outbox.database)
    victim = await relay(dying, "a")
    event = user_event("u1", 1)
    await append(dying, [event])
    await sent.wait()
    await victim.stop(patience_seconds=0)
    assert await outbox.depth() == 1
    await relay(outbox, "a")
    await until_empty(outbox)
    assert await read(private_kafka.address, 2) == [("u1", event.id, 1)] * 2


async def test_two_replicas_share_an_outbox(outbox: Outbox, private_kafka: Any, relay: Any) -> None:
    private_kafka.start()
    first = await relay(outbox, "a")
    await append(outbox, [user_event("u1", 0)])
    await until_empty(outbox)
    # The second has no lease: its commits wake it in vain, and the first finds them.
    other = Outbox(outbox._client, outbox.database)
    await relay(other, "b")
    await append(other, [user_event("u1", version) for version in range(1, 20)])
    await until_empty(outbox)
    await first.stop()
    await append(outbox, [user_event("u1", version) for version in range(20, 40)])
    await until_empty(outbox)
    assert by_key(await read(private_kafka.address, 40)) == {"u1": list(range(40))}


async def test_a_stopped_relay_has_finished_its_batch(
    outbox: Outbox, private_kafka: Any, relay: Any
) -> None:
    private_kafka.start()
    started = await relay(outbox, batch=10)
    await append(outbox, [user_event("u1", version) for version in range(30)])
    await asyncio.sleep(0.3)
    await started.stop()
    waiting = await outbox.depth()
    found = await read(private_kafka.address, 30 - waiting)
    assert by_key(found).get("u1", []) == list(range(30 - waiting))


async def test_a_database_that_goes_away_and_comes_back(
    private_mongodb: Any, private_kafka: Any, relay: Any
) -> None:
    private_kafka.start()
    server = private_mongodb("--sync-on-commit")  # or it forgets its last commits when killed
    server.start()
    uri = f"mongodb://{server.address}/?directConnection=true&timeoutMS=2500"
    client = connect(uri, "test")
    await migrate(client["test"], OUTBOX_SPECS)
    outbox = Outbox(client, client["test"])
    await relay(outbox)
    await append(outbox, [user_event("u1", 0)])
    await until_empty(outbox)
    server.kill()
    await asyncio.sleep(1)
    server.start()
    await append(outbox, [user_event("u1", 1)])
    await until_empty(outbox)
    assert by_key(await read(private_kafka.address, 2)) == {"u1": [0, 1]}
    await client.close()


async def test_a_sent_event_belongs_to_the_trace_of_its_cause(
    outbox: Outbox, private_kafka: Any, relay: Any, spans: InMemorySpanExporter
) -> None:
    private_kafka.start()
    with trace.get_tracer("test").start_as_current_span("cause") as cause:
        event = user_event("u1", 1)
    await append(outbox, [event])
    await relay(outbox)
    await until_empty(outbox)
    (span,) = [s for s in spans.get_finished_spans() if s.name == f"send {USER_EVENTS}"]
    assert span.kind is SpanKind.PRODUCER
    assert span.context.trace_id == cause.get_span_context().trace_id
    assert span.parent.span_id == cause.get_span_context().span_id
    assert [link.context.span_id for link in span.links] == [cause.get_span_context().span_id]
    assert span.attributes["messaging.message.id"] == event.id
    headers = await asyncio.to_thread(_headers, private_kafka.address)
    assert headers["traceparent"].decode() == event.traceparent


def _headers(bootstrap: str) -> dict[str, bytes]:
    consumer = KafkaConsumer(
        USER_EVENTS,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        group_id=None,
        consumer_timeout_ms=10_000,
    )
    try:
        return dict(next(consumer).headers)
    finally:
        consumer.close()
