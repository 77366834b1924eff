"""Transactions, on a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pymongo
import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from mesh.errors import Code, NotFound
from mesh.mongo.client import (
    Document,
    NotAReplicaSetError,
    Session,
    connect,
    in_transaction,
    ping,
    require_replica_set,
)
from mesh.mongo.database import open_database
from mesh.status import to_status

Client = AsyncMongoClient[Document]
Database = AsyncDatabase[Document]


@pytest.fixture
async def things(mongo_database: Database) -> Any:
    """An empty collection."""
    await mongo_database.create_collection("things")
    return mongo_database["things"]


async def test_all_writes_are_committed_together(mongo_client: Client, things: Any) -> None:
    async def write(session: Session) -> str:
        await things.insert_one({"_id": 1}, session=session)
        await things.insert_one({"_id": 2}, session=session)
        assert await things.count_documents({}) == 0, "nobody else sees them yet"
        return "done"

    assert await in_transaction(mongo_client, write) == "done"
    assert await things.count_documents({}) == 2


async def test_an_exception_leaves_nothing(mongo_client: Client, things: Any) -> None:
    async def write(session: Session) -> None:
        await things.insert_one({"_id": 1}, session=session)
        raise NotFound("user", "u1")

    with pytest.raises(NotFound):
        await in_transaction(mongo_client, write)
    assert await things.count_documents({}) == 0


async def test_a_cancelled_task_leaves_nothing(mongo_client: Client, things: Any) -> None:
    written = asyncio.Event()

    async def write(session: Session) -> None:
        await things.insert_one({"_id": 1}, session=session)
        written.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(in_transaction(mongo_client, write))
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await things.count_documents({}) == 0
    await things.insert_one({"_id": 1})  # no lock is left behind either


async def test_the_loser_of_a_conflict_tries_again(mongo_client: Client, things: Any) -> None:
    await things.insert_one({"_id": "counter", "value": 0})
    attempts = 0

    async def increment(session: Session) -> None:
        nonlocal attempts
        attempts += 1
        row = await things.find_one({"_id": "counter"}, session=session)
        await asyncio.sleep(0.01)
        await things.update_one(
            {"_id": "counter"}, {"$set": {"value": row["value"] + 1}}, session=session
        )

    await asyncio.gather(*(in_transaction(mongo_client, increment) for _ in range(8)))
    assert (await things.find_one({"_id": "counter"}))["value"] == 8
    assert attempts > 8, "there was no conflict to test"


async def test_a_conflict_that_lasts_ends_with_the_deadline_and_is_aborted(
    mongo_client: Client, things: Any
) -> None:
    await things.insert_one({"_id": "a", "value": 0})

    async def hold(session: Session) -> None:
        await things.update_one({"_id": "a"}, {"$inc": {"value": 1}}, session=session)
        held.set()
        await release.wait()

    async def write(session: Session) -> None:
        await things.update_one({"_id": "a"}, {"$inc": {"value": 1}}, session=session)

    held, release = asyncio.Event(), asyncio.Event()
    holder = asyncio.create_task(in_transaction(mongo_client, hold))
    await held.wait()
    begin = time.monotonic()
    with pytest.raises(PyMongoError) as caught, pymongo.timeout(1):
        await in_transaction(mongo_client, write)
    assert time.monotonic() - begin < 5
    assert to_status(caught.value).code in {Code.ABORTED, Code.UNAVAILABLE}
    release.set()
    await holder
    assert (await things.find_one({"_id": "a"}))["value"] == 1


async def test_a_server_without_transactions_is_refused(
    private_mongodb: Callable[..., Any],
) -> None:
    server = private_mongodb("--standalone")
    server.start()
    uri = f"mongodb://{server.address}/?directConnection=true"
    client = connect(uri, "test")
    with pytest.raises(NotAReplicaSetError, match="must be a replica set"):
        await require_replica_set(client)
    with pytest.raises(NotAReplicaSetError, match=r"rs\.initiate"):
        await open_database(uri, "test", [], app_name="test")
    server.kill()
    assert not await ping(client)
    with pytest.raises(PyMongoError) as caught, pymongo.timeout(1):
        await client["test"]["things"].find_one({})
    assert to_status(caught.value).code == Code.UNAVAILABLE

    async def write(session: Session) -> None:
        await client["test"]["things"].insert_one({}, session=session)

    with pytest.raises(PyMongoError) as caught, pymongo.timeout(1):
        await in_transaction(client, write)
    assert to_status(caught.value).code == Code.UNAVAILABLE
    await client.close()
