"""Events from the outbox of one service to the handler of another, through a real broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from marquee.events.v1 import events_pb2
from marquee.user.v1 import user_pb2
from pymongo.asynchronous.database import AsyncDatabase

from mesh.errors import Unavailable
from mesh.events import Event, new_event
from mesh.ids import new_id
from mesh.kafka import topics
from mesh.kafka.consumer import ConsumerOptions, ConsumerRuntime
from mesh.kafka.errors import PoisonRecord
from mesh.kafka.record import IncomingRecord, OutgoingRecord
from mesh.messaging import EventHandler, Messaging
from mesh.mongo.client import Client, Document
from mesh.mongo.migrations import migrate
from mesh.outbox.store import OUTBOX_SPECS, Outbox
from mesh.settings import MeshSettings
from mesh.telemetry.spans import span


def settings(bootstrap: str) -> MeshSettings:
    values: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "mongodb_uri": "mongodb://127.0.0.1:1",
        "kafka_bootstrap": bootstrap,
        "kafka_session_timeout_ms": 6000,
        "instance_id": new_id(),
    }
    return MeshSettings(**values)


def user_changed(user_id: str, version: int = 1) -> Event:
    message = events_pb2.UserChanged(user=user_pb2.User(id=user_id), version=version)
    return new_event("/test", user_id, version, message)


@contextlib.asynccontextmanager
async def running(messaging: Messaging) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for component in messaging.components:
            await component.start()
            stack.push_async_callback(component.stop)
        yield


@pytest.fixture
async def outbox(mongo_client: Client, mongo_database: AsyncDatabase[Document]) -> Outbox:
    await migrate(mongo_database, OUTBOX_SPECS)
    return Outbox(mongo_client, mongo_database)


async def append(outbox: Outbox, *events: Event) -> None:
    async def work(session: Any) -> None:
        await outbox.append(session, events)

    await outbox.transaction(work)


async def test_events_reach_their_handler_in_the_trace_of_their_cause(
    kafka_bootstrap: str, outbox: Outbox, ended_spans: Any, eventually: Any
) -> None:
    user_id = new_id()
    handled: list[Event] = []
    failure = asyncio.Event()

    async def handler(event: Event) -> None:
        if event.subject == user_id:
            with span("inside"):
                handled.append(event)

    messaging = Messaging(settings(kafka_bootstrap), "test", failure=failure)
    messaging.relay(outbox)
    messaging.consume(f"group-{user_id}", [topics.USER_EVENTS], handler)
    async with running(messaging):
        with span("cause") as cause:
            await append(outbox, *(user_changed(user_id, number) for number in range(1, 21)))

        async def all_handled() -> bool:
            return len(handled) >= 20

        await eventually(all_handled)

    messages: list[Any] = [event.message for event in handled]
    assert [message.version for message in messages] == list(range(1, 21))
    assert await outbox.depth() == 0
    assert not failure.is_set()
    mine = [s for s in ended_spans() if s.context.trace_id == cause.get_span_context().trace_id]
    process = [s for s in mine if s.name == f"process {topics.USER_EVENTS}"]
    assert len([s for s in mine if s.name == f"send {topics.USER_EVENTS}"]) == 20
    assert len(process) == 20
    assert {s.parent.span_id for s in process} == {cause.get_span_context().span_id}
    inside = [s for s in mine if s.name == "inside"]
    assert {s.parent.span_id for s in inside} == {s.context.span_id for s in process}


async def test_trouble_that_passes_is_waited_out_and_poison_is_buried(
    kafka_bootstrap: str, outbox: Outbox, eventually: Any
) -> None:
    user_id, poison_id = new_id(), new_id()
    attempts: list[str] = []
    done: list[Event] = []
    letters: list[str] = []

    async def handler(event: Event) -> None:
        if event.subject == user_id:
            attempts.append(event.id)
            if len(attempts) < 7:  # more often than an error of another kind is tried
                raise Unavailable("AWAY", "not now")
            done.append(event)
        elif event.subject == poison_id:
            raise PoisonRecord("cannot be")

    messaging = Messaging(settings(kafka_bootstrap), "test", failure=asyncio.Event())
    messaging.relay(outbox)
    messaging.consume(f"group-{user_id}", [topics.USER_EVENTS], handler)
    async with running(messaging), reading_dead_letters(kafka_bootstrap, letters):
        garbage = OutgoingRecord(topics.USER_EVENTS, poison_id.encode(), b"garbage", ())
        assert await messaging.publisher.publish([garbage]) == [None]
        await append(outbox, user_changed(user_id), user_changed(poison_id))

        async def all_settled() -> bool:
            return len(done) >= 1 and letters.count(poison_id) >= 2

        await eventually(all_settled)
    assert len(done) == 1
    assert letters.count(user_id) == 0


class NoFurtherLetters:
    """A reader of dead letters has nowhere to put one."""

    async def bury(self, record: IncomingRecord, **_: Any) -> None:
        raise AssertionError(record)


@contextlib.asynccontextmanager
async def reading_dead_letters(bootstrap: str, keys: list[str]) -> AsyncIterator[None]:
    """Notes the keys of all dead letters."""

    async def note(record: IncomingRecord) -> None:
        keys.append((record.key or b"").decode())

    reader = ConsumerRuntime(
        bootstrap,
        new_id(),
        [topics.DEAD_LETTERS],
        note,
        NoFurtherLetters(),
        options=ConsumerOptions(session_timeout_ms=6000),
    )
    await reader.start()
    yield
    await reader.stop()


async def _unused(event: Event) -> None:
    raise AssertionError(event)


async def test_services_start_and_stop_without_a_broker(
    outbox: Outbox, free_port: Callable[[], int]
) -> None:
    handler: EventHandler = _unused
    failure = asyncio.Event()
    messaging = Messaging(settings(f"127.0.0.1:{free_port()}"), "test", failure=failure)
    messaging.relay(outbox)
    messaging.consume("group", [topics.USER_EVENTS], handler)
    async with asyncio.timeout(60), running(messaging):
        await append(outbox, user_changed("ada"))
        await asyncio.sleep(0.5)
    assert await outbox.depth() == 1
    assert not failure.is_set()


async def test_events_wait_for_a_broker_that_comes_late_or_forgets(
    private_kafka: Any, outbox: Outbox, eventually: Any
) -> None:
    handled: list[str] = []

    async def handler(event: Event) -> None:
        handled.append(event.subject)

    messaging = Messaging(settings(private_kafka.address), "test", failure=asyncio.Event())
    messaging.relay(outbox)
    messaging.consume("group", [topics.USER_EVENTS], handler)
    async with running(messaging):
        await append(outbox, user_changed("before"))
        await asyncio.sleep(0.5)
        for name in ("before", "after"):
            private_kafka.start()

            async def is_handled(name: str = name) -> bool:
                return name in handled

            await eventually(is_handled)
            private_kafka.kill()
            if name == "before":
                await append(outbox, user_changed("after"))


async def test_a_consumer_that_hangs_ends_the_process(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = asyncio.Event()
    messaging = Messaging(settings(kafka_bootstrap), "test", failure=failure)
    consumer = messaging.consume(f"group-{new_id()}", [topics.USER_EVENTS], _ignore)
    async with running(messaging):
        await asyncio.sleep(0.5)
        assert not failure.is_set()
        monkeypatch.setattr(consumer.runtime, "healthy", lambda: False)
        await asyncio.wait_for(failure.wait(), 30)


async def _ignore(event: Event) -> None:
    pass
