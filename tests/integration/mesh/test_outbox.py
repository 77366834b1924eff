"""The outbox and its lease, on a real server."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from marquee.events.v1 import events_pb2
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from mesh.events import Event, new_event
from mesh.mongo.client import Document, Session
from mesh.mongo.migrations import migrate
from mesh.outbox.lease import Lease
from mesh.outbox.store import OUTBOX_SPECS, Outbox, end_of_key, to_outgoing

Client = AsyncMongoClient[Document]
Database = AsyncDatabase[Document]


@pytest.fixture
async def outbox(mongo_client: Client, mongo_database: Database) -> Outbox:
    """An empty outbox."""
    await migrate(mongo_database, OUTBOX_SPECS)
    return Outbox(mongo_client, mongo_database)


def user_event(user_id: str, version: int) -> Event:
    return new_event("/test", user_id, version, events_pb2.UserChanged(version=version))


async def append(outbox: Outbox, *events: Event) -> None:
    async def write(session: Session) -> None:
        await outbox.append(session, events)

    await outbox.transaction(write)


def places(rows: list[Document]) -> list[tuple[str, int]]:
    return [(row["key"], row["sequence"]) for row in rows]


class TestOutbox:
    async def test_state_and_events_are_committed_together(self, outbox: Outbox) -> None:
        event = user_event("u1", 1)

        async def write(session: Session) -> None:
            await outbox.database["users"].insert_one({"_id": "u1"}, session=session)
            await outbox.append(session, [event])

        await outbox.transaction(write)
        (row,) = await outbox.pending("", 10)
        record = to_outgoing(row)
        assert record.topic == event.topic
        assert record.key == b"u1"
        assert dict(record.headers)["ce_id"] == event.id.encode()
        assert events_pb2.UserChanged.FromString(record.value or b"").version == 1
        assert outbox.wake.is_set()

    async def test_a_transaction_that_fails_leaves_neither(self, outbox: Outbox) -> None:
        async def write(session: Session) -> None:
            await outbox.database["users"].insert_one({"_id": "u1"}, session=session)
            await outbox.append(session, [user_event("u1", 1)])
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await outbox.transaction(write)
        assert await outbox.depth() == 0
        assert await outbox.database["users"].count_documents({}) == 0
        assert not outbox.wake.is_set()

    async def test_events_cannot_be_appended_outside_of_a_transaction(
        self, outbox: Outbox, mongo_client: Client
    ) -> None:
        async with mongo_client.start_session() as session:
            with pytest.raises(RuntimeError, match="transaction"):
                await outbox.append(session, [user_event("u1", 1)])
        assert await outbox.depth() == 0

    async def test_an_event_that_no_broker_takes_is_refused(self, outbox: Outbox) -> None:
        event = new_event("/test", "u1", 1, events_pb2.UserDeleted(user_id="x" * 1_100_000))
        with pytest.raises(ValueError, match="bytes"):
            await append(outbox, event)
        assert await outbox.depth() == 0

    async def test_rows_come_in_the_order_of_each_key(self, outbox: Outbox) -> None:
        events = [
            user_event(user, version) for user in ("a", "a-b", "a.c", "a0") for version in (9, 10)
        ]
        for event in random.sample(events, len(events)):
            await append(outbox, event)
        rows = await outbox.pending("", 100)
        for user in ("a", "a-b", "a.c", "a0"):
            assert [version for key, version in places(rows) if key == user] == [9, 10]

    async def test_full_batches_go_round_the_keys(self, outbox: Outbox) -> None:
        users = ("a", "a-b", "a.c", "a0")
        await append(outbox, *(user_event(user, version) for user in users for version in range(5)))
        rest = places(await outbox.pending("", 100))
        found: list[tuple[str, int]] = []
        after = ""
        while rows := await outbox.pending(after, 3):
            found += places(rows)
            after = end_of_key(rows[-1])
        # Of each key the first rows, of none a later row without those before it.
        assert found == [place for place in rest if place[1] < 3]

    async def test_no_row_is_seen_before_an_earlier_one_of_its_key(self, outbox: Outbox) -> None:
        """Writers race for keys while somebody looks: what is seen has no gap."""
        await outbox.database["users"].insert_many(
            [{"_id": f"u{number}", "version": 0} for number in range(3)]
        )

        async def change(user: str) -> None:
            async def write(session: Session) -> None:
                row = await outbox.database["users"].find_one_and_update(
                    {"_id": user}, {"$inc": {"version": 1}}, session=session, return_document=True
                )
                await outbox.append(session, [user_event(user, row["version"])])

            for _ in range(8):
                await outbox.transaction(write)

        written = asyncio.Event()

        async def look() -> None:
            while not written.is_set():  # a cancellation may be lost in the middle of a query
                rows = await outbox.pending("", 1000)
                for user in {row["key"] for row in rows}:
                    versions = [version for key, version in places(rows) if key == user]
                    assert versions == list(range(1, len(versions) + 1))

        looking = asyncio.create_task(look())
        await asyncio.gather(*(change(f"u{number % 3}") for number in range(6)))
        written.set()
        await looking
        assert await outbox.depth() == 48

    async def test_rows_are_forgotten(self, outbox: Outbox) -> None:
        await append(outbox, *(user_event("u1", version) for version in range(5)))
        rows = await outbox.pending("", 3)
        await outbox.remove([row["_id"] for row in rows])
        await outbox.remove([row["_id"] for row in rows])
        assert places(await outbox.pending("", 10)) == [("u1", 3), ("u1", 4)]


class TestLease:
    @pytest.fixture
    def lease(self, outbox: Outbox) -> Any:
        """Makes leases of the same job."""
        return lambda owner, seconds=5.0: Lease(outbox.database, "job", owner, seconds=seconds)

    async def test_one_owner_at_a_time(self, lease: Any) -> None:
        first, second = lease("a"), lease("b")
        assert await first.hold()
        assert not await second.hold()
        assert await first.hold()
        await first.release()
        assert await second.hold()
        assert not await lease("a").hold()

    async def test_only_one_of_many_wins(self, lease: Any) -> None:
        won = await asyncio.gather(*(lease(f"o{number}").hold() for number in range(10)))
        assert sum(won) == 1

    async def test_a_dead_owner_is_replaced(self, lease: Any) -> None:
        dead, heir = lease("a", seconds=0.5), lease("b", seconds=0.5)
        assert await dead.hold()
        assert not await heir.hold()
        await asyncio.sleep(0.6)
        assert await heir.hold()
        assert not await dead.hold()

    async def test_it_is_renewed_in_time(self, lease: Any) -> None:
        owner, other = lease("a", seconds=0.9), lease("b")
        for _ in range(8):
            assert await owner.hold()
            assert not await other.hold()
            await asyncio.sleep(0.2)

    async def test_the_same_owner_has_it_at_once_after_a_restart(self, lease: Any) -> None:
        assert await lease("a").hold()
        assert await lease("a").hold()

    async def test_a_release_by_another_changes_nothing(self, lease: Any) -> None:
        owner, other = lease("a"), lease("b")
        assert await owner.hold()
        await other.release()
        assert not await other.hold()
