"""Collections become what the code expects, on a real server."""

from __future__ import annotations

import asyncio

import pytest
from pymongo import AsyncMongoClient, IndexModel, monitoring
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, WriteError

from mesh.mongo.client import Document, ping, require_replica_set
from mesh.mongo.migrations import CollectionSpec, migrate, object_schema

Database = AsyncDatabase[Document]


def spec(required: dict[str, str | list[str]], *indexes: IndexModel) -> CollectionSpec:
    return CollectionSpec("things", object_schema(required), indexes)


async def test_a_migration_may_run_any_number_of_times(mongo_database: Database) -> None:
    expected = spec({"name": "string"}, IndexModel([("name", 1)], name="by_name"))
    await migrate(mongo_database, [expected])
    await mongo_database["things"].insert_one({"name": "kept"})
    await migrate(mongo_database, [expected])
    assert await mongo_database["things"].count_documents({}) == 1
    assert set(await mongo_database["things"].index_information()) == {"_id_", "by_name"}


async def test_several_replicas_may_migrate_at_once(mongo_database: Database) -> None:
    expected = spec({"name": "string"}, IndexModel([("name", 1)], name="by_name"))
    await asyncio.gather(*(migrate(mongo_database, [expected]) for _ in range(4)))
    assert set(await mongo_database["things"].index_information()) == {"_id_", "by_name"}


async def test_documents_must_satisfy_the_schema(mongo_database: Database) -> None:
    await migrate(mongo_database, [spec({"name": "string", "count": ["int", "long"]})])
    await mongo_database["things"].insert_one({"name": "a", "count": 1, "more": True})
    with pytest.raises(WriteError, match="validation"):
        await mongo_database["things"].insert_one({"name": "a"})
    with pytest.raises(WriteError, match="validation"):
        await mongo_database["things"].insert_one({"name": 1, "count": 1})
    with pytest.raises(WriteError, match="validation"):
        await mongo_database["things"].update_one({"name": "a"}, {"$set": {"count": "one"}})


async def test_a_later_schema_replaces_the_earlier_one(mongo_database: Database) -> None:
    await migrate(mongo_database, [spec({"name": "string"})])
    await mongo_database["things"].insert_one({"name": "old"})
    await migrate(mongo_database, [spec({"title": "string"}, IndexModel([("title", 1)]))])
    with pytest.raises(WriteError, match="validation"):
        await mongo_database["things"].insert_one({"name": "new"})
    await mongo_database["things"].insert_one({"title": "new"})
    assert "title_1" in await mongo_database["things"].index_information()


async def test_what_is_as_expected_is_not_touched(
    mongodb_uri: str, mongo_database: Database
) -> None:
    expected = spec({"name": "string"})
    await migrate(mongo_database, [expected])
    commands: list[str] = []

    class Listener(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            commands.append(event.command_name)

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
            pass

        def failed(self, event: monitoring.CommandFailedEvent) -> None:
            pass

    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[Listener()]) as client:
        await migrate(client[mongo_database.name], [expected])
        assert "collMod" not in commands
        assert "create" not in commands
        await migrate(client[mongo_database.name], [spec({"title": "string"})])
        assert "collMod" in commands


async def test_an_index_that_cannot_be_is_an_error(mongo_database: Database) -> None:
    await mongo_database["things"].insert_many([{"name": "a"}, {"name": "a"}])
    unique = IndexModel([("name", 1)], unique=True)
    with pytest.raises(DuplicateKeyError):
        await migrate(mongo_database, [spec({"name": "string"}, unique)])


async def test_a_replica_set_member_is_accepted(mongo_client: AsyncMongoClient[Document]) -> None:
    await require_replica_set(mongo_client)
    assert await ping(mongo_client)
