"""Following collections of a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Document, connect
from mesh.mongo.follow import Follower

NEVER = 3600.0


class Copy:
    """What a follower keeps up: the ids of a collection."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self.database = database
        self.ids: set[str] = set()
        self.refreshes = 0
        self.at_once = 0
        self.failures = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def refresh(self) -> None:
        self.at_once += 1
        assert self.at_once == 1
        try:
            self.refreshes += 1
            if self.failures:
                self.failures -= 1
                raise RuntimeError("cannot refresh")
            await self.hold.wait()
            self.ids = {row["_id"] async for row in self.database["things"].find()}
        finally:
            self.at_once -= 1

    async def add(self, *ids: str) -> None:
        await self.database["things"].insert_many([{"_id": each} for each in ids])

    def has(self, *ids: str) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return set(ids) <= self.ids

        return check


@pytest.fixture
async def copy(mongo_database: AsyncDatabase[Document]) -> Copy:
    await mongo_database.create_collection("things")
    return Copy(mongo_database)


@asynccontextmanager
async def following(
    copy: Copy, *collections: str, sweep_seconds: float = NEVER
) -> AsyncIterator[Follower]:
    follower = Follower(
        copy.database, collections or ["things"], copy.refresh, sweep_seconds=sweep_seconds
    )
    await follower.start()
    try:
        yield follower
    finally:
        async with asyncio.timeout(30):
            await follower.stop()


async def test_what_is_there_at_the_start_is_known_when_it_has_started(copy: Copy) -> None:
    await copy.add("a")
    async with following(copy):
        assert copy.ids == {"a"}


async def test_a_start_that_cannot_refresh_fails(copy: Copy) -> None:
    copy.failures = 1
    with pytest.raises(RuntimeError):
        await Follower(copy.database, ["things"], copy.refresh).start()


async def test_a_change_is_taken_over_long_before_the_sweep(copy: Copy, eventually: Any) -> None:
    async with following(copy):
        await copy.add("a")
        await eventually(copy.has("a"))
        await copy.add("b")
        await eventually(copy.has("b"))


async def test_any_of_the_collections_wakes_it(copy: Copy, eventually: Any) -> None:
    await copy.database.create_collection("others")
    async with following(copy, "others", "things"):
        await copy.add("a")
        await eventually(copy.has("a"))
        begin = copy.refreshes
        await copy.database["others"].insert_one({})

        async def refreshed() -> bool:
            return copy.refreshes > begin

        await eventually(refreshed)


async def test_without_a_stream_the_sweep_finds_changes(copy: Copy, eventually: Any) -> None:
    follower = Follower(copy.database, [], copy.refresh, sweep_seconds=0.1)
    await follower.start()
    await copy.add("a")
    await eventually(copy.has("a"))
    await follower.stop()


async def test_it_can_be_woken(copy: Copy, eventually: Any) -> None:
    follower = Follower(copy.database, [], copy.refresh, sweep_seconds=NEVER)
    await follower.start()
    await copy.add("a")
    assert copy.ids == set()
    follower.wake()
    await eventually(copy.has("a"))
    await follower.stop()


async def test_changes_during_a_refresh_are_taken_over_by_one_more(
    copy: Copy, eventually: Any
) -> None:
    async with following(copy):
        await copy.add("first")
        await eventually(copy.has("first"))
        copy.hold.clear()
        begin = copy.refreshes
        await copy.add("second")

        async def began() -> bool:
            return copy.refreshes > begin

        await eventually(began)
        for number in range(40):
            await copy.add(f"n{number}")
        copy.hold.set()
        await eventually(copy.has(*(f"n{number}" for number in range(40))))
        assert copy.refreshes < begin + 20


async def test_a_refresh_that_fails_is_made_again(copy: Copy, eventually: Any) -> None:
    async with following(copy, sweep_seconds=0.1):
        copy.failures = 3
        await copy.add("a")
        await eventually(copy.has("a"))
        assert copy.failures == 0


async def test_it_goes_on_after_the_database_was_away(
    private_mongodb: Callable[..., Any], eventually: Any
) -> None:
    server = private_mongodb()
    server.start()
    client = connect(f"mongodb://{server.address}/?directConnection=true", "tests")
    try:
        copy = Copy(client["followed"])
        await copy.database.create_collection("things")
        async with following(copy, sweep_seconds=NEVER) as follower:
            await copy.add("a")
            await eventually(copy.has("a"))
            server.kill()
            server.start()
            await copy.add("b")
            await eventually(copy.has("b"))
            assert follower is not None
    finally:
        await client.close()


async def test_it_ends_whatever_it_is_doing(copy: Copy) -> None:
    # A cancellation gets lost in pymongo once in a while, so once would tell nothing.
    for attempt in range(24):
        follower = Follower(copy.database, ["things", "others"], copy.refresh)
        await follower.start()
        await asyncio.sleep(attempt % 8 / 400)
        async with asyncio.timeout(30):
            await follower.stop()
    begin = copy.refreshes
    await copy.add("late")
    await asyncio.sleep(0.3)
    assert copy.refreshes == begin


async def test_it_ends_a_refresh_under_way(copy: Copy) -> None:
    async with following(copy) as follower:
        copy.hold.clear()
        follower.wake()
        while not copy.at_once:
            await asyncio.sleep(0.01)
    assert copy.at_once == 0
