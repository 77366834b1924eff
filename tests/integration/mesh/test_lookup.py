"""Lookups by many ids, on a real server."""

from __future__ import annotations

from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Document
from mesh.mongo.lookup import find_by_ids


async def test_what_exists_of_many_ids_is_found_once(
    mongo_database: AsyncDatabase[Document],
) -> None:
    numbers = mongo_database["numbers"]
    await numbers.insert_many([{"_id": f"n{n}", "square": n * n} for n in range(0, 300, 2)])
    found = [row async for row in find_by_ids(numbers, [f"n{n}" for n in range(300)])]
    assert sorted(row["square"] for row in found) == [n * n for n in range(0, 300, 2)]


async def test_only_the_fields_asked_for_are_read(
    mongo_database: AsyncDatabase[Document],
) -> None:
    numbers = mongo_database["numbers"]
    await numbers.insert_one({"_id": "n1", "square": 1})
    found = [row async for row in find_by_ids(numbers, ["n1", "n2"], projection={"_id": 1})]
    assert found == [{"_id": "n1"}]


async def test_nothing_asked_for_is_nothing_found(mongo_database: AsyncDatabase[Document]) -> None:
    assert [row async for row in find_by_ids(mongo_database["numbers"], [])] == []
