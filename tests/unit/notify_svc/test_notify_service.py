import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from mesh.errors import Unavailable
from notify_svc.domain import (
    Channel,
    ListChange,
    NamedMovie,
    Notification,
    Plan,
    Recipient,
    delivery_id,
)
from notify_svc.live import LiveHub
from notify_svc.service import NotificationService, StreamMessage, Transaction

ResultT = TypeVar("ResultT")
NOW = datetime(2026, 11, 1, tzinfo=UTC)


class MemoryNotifications:
    """The port in memory."""

    def __init__(self) -> None:
        self.rows: list[Notification] = []
        self.deliveries: set[str] = set()
        self.recipients: dict[str, Recipient] = {}

    async def transaction(self, work: Callable[[Transaction], Awaitable[ResultT]]) -> ResultT:
        return await work(self)

    async def is_planned(self, change: ListChange) -> bool:
        return delivery_id(change.event_id, change.user_id, Channel.INBOX) in self.deliveries

    async def recipient(self, user_id: str) -> Recipient:
        return self.recipients.get(user_id, Recipient(user_id))

    async def keep(self, plan: Plan) -> None:
        self.deliveries |= {delivery.id for delivery in plan.deliveries}
        if plan.notification is not None:
            sequence = await self.last_sequence(plan.notification.user_id) + 1
            self.rows.append(replace(plan.notification, sequence=sequence))

    async def learn(self, recipient: Recipient) -> bool:
        self.recipients[recipient.user_id] = recipient
        return True

    async def page(
        self, user_id: str, *, before: int | None, limit: int, unread_only: bool
    ) -> list[Notification]:
        found = [
            row
            for row in reversed(self.rows)
            if row.user_id == user_id
            and (before is None or row.sequence < before)
            and not (unread_only and row.read_time)
        ]
        return found[:limit]

    async def unread(self, user_id: str) -> int:
        return sum(row.user_id == user_id and row.read_time is None for row in self.rows)

    async def mark_read(self, user_id: str, ids: Collection[str], moment: datetime) -> int:
        before = await self.unread(user_id)
        self.rows = [
            replace(row, read_time=row.read_time or moment)
            if row.user_id == user_id and row.id in ids
            else row
            for row in self.rows
        ]
        return before - await self.unread(user_id)

    async def last_sequence(self, user_id: str) -> int:
        return max((row.sequence for row in self.rows if row.user_id == user_id), default=0)

    async def last_sequences(self, user_ids: Collection[str]) -> dict[str, int]:
        return {user_id: await self.last_sequence(user_id) for user_id in user_ids}

    async def between(
        self, user_id: str, *, after: int, until: int, limit: int
    ) -> list[Notification]:
        return [
            row for row in self.rows if row.user_id == user_id and after < row.sequence <= until
        ][:limit]


class World:
    def __init__(self, *, heartbeat: float = 30.0) -> None:
        self.store = MemoryNotifications()
        self.draining = asyncio.Event()
        self.hub = LiveHub(self.store.last_sequences, draining=self.draining, sweep_seconds=0.02)
        self.service = NotificationService(
            self.store, self.hub, heartbeat_seconds=heartbeat, clock=lambda: NOW
        )

    async def tell(self, *event_ids: str, user_id: str = "ada") -> None:
        for event_id in event_ids:
            change = ListChange(event_id, user_id, (NamedMovie("m", f"Movie {event_id}"),))
            await self.service.plan(change)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.hub.start()
    yield world
    await world.hub.stop()


async def take(stream: AsyncIterator[StreamMessage], count: int) -> list[StreamMessage]:
    async with asyncio.timeout(5):
        return [await anext(stream) for _ in range(count)]


def sequences(messages: list[StreamMessage]) -> list[int | None]:
    return [message.notification and message.notification.sequence for message in messages]


async def test_an_event_that_comes_again_changes_nothing(world: World) -> None:
    await world.tell("e1", "e2", "e1", "e2", "e1")
    assert [row.sequence for row in world.store.rows] == [1, 2]


async def test_a_stream_begins_with_where_it_stands(world: World) -> None:
    await world.tell("e1", "e2")
    async with aclosing(world.service.subscribe("ada", None)) as stream:
        (first,) = await take(stream, 1)
        assert first == StreamMessage(2)
        await world.tell("e3")
        (second,) = await take(stream, 1)
        assert (second.position, sequences([second])) == (3, [3])


async def test_what_was_missed_comes_first_and_in_order(world: World) -> None:
    await world.tell(*(f"e{number}" for number in range(250)))
    async with aclosing(world.service.subscribe("ada", 3)) as stream:
        messages = await take(stream, 248)
    assert messages[0] == StreamMessage(3)
    assert sequences(messages[1:]) == list(range(4, 251))


async def test_every_device_hears_it_and_other_people_do_not(world: World) -> None:
    async with (
        aclosing(world.service.subscribe("ada", None)) as phone,
        aclosing(world.service.subscribe("ada", None)) as tablet,
        aclosing(world.service.subscribe("bob", None)) as other,
    ):
        for stream in (phone, tablet, other):
            await take(stream, 1)
        await world.tell("e1")
        await world.tell("e2", user_id="bob")
        assert sequences(await take(phone, 1)) == [1]
        assert sequences(await take(tablet, 1)) == [1]
        (message,) = await take(other, 1)
        assert message.notification is not None
        assert message.notification.user_id == "bob"


async def test_what_is_not_streamed_is_passed_over(world: World) -> None:
    muted = Recipient("ada", 1, muted={"recommendations": frozenset({Channel.STREAM})})
    async with aclosing(world.service.subscribe("ada", None)) as stream:
        await take(stream, 1)
        await world.service.learn(muted)
        await world.tell("e1")
        await world.service.learn(Recipient("ada", 2))
        await world.tell("e2")
        assert sequences(await take(stream, 1)) == [2]


async def test_a_cursor_from_a_lost_inbox_does_not_hide_what_comes(world: World) -> None:
    async with aclosing(world.service.subscribe("ada", 1000)) as stream:
        assert await take(stream, 1) == [StreamMessage(0)]
        await world.tell("e1")
        assert sequences(await take(stream, 1)) == [1]


async def test_the_sweep_finds_what_another_replica_planned(world: World) -> None:
    elsewhere = NotificationService(
        world.store, LiveHub(world.store.last_sequences, draining=asyncio.Event())
    )
    async with aclosing(world.service.subscribe("ada", None)) as stream:
        await take(stream, 1)
        await elsewhere.plan(ListChange("e1", "ada", (NamedMovie("m", "M"),)))
        assert sequences(await take(stream, 1)) == [1]


async def test_an_idle_stream_shows_that_it_is_alive() -> None:
    world = World(heartbeat=0.02)
    async with aclosing(world.service.subscribe("ada", None)) as stream:
        assert await take(stream, 3) == [StreamMessage(0)] * 3


async def test_a_stream_ends_with_the_server(world: World) -> None:
    async with aclosing(world.service.subscribe("ada", None)) as stream:
        await take(stream, 1)
        asyncio.get_running_loop().call_later(0.05, world.draining.set)
        with pytest.raises(Unavailable):
            await take(stream, 1)
    with pytest.raises(Unavailable):
        await anext(world.service.subscribe("ada", None))
