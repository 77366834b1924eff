"""Brings the collections of a service to what its code expects.

The expectation is declared, not scripted: each start compares and changes what differs, so that it
may run any number of times and from several replicas at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pymongo
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from mesh.mongo.client import Document

_NAMESPACE_EXISTS = 48
# On a collection that is there already; the client's limit for an operation is far too short.
_INDEX_BUILD_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """A collection as the code expects it.

    Attributes:
        name: Its name.
        schema: A `$jsonSchema` that every document must satisfy.
        indexes: Its indexes beside `_id`.
    """

    name: str
    schema: dict[str, Any]
    indexes: Sequence[IndexModel] = field(default=())


async def migrate(database: AsyncDatabase[Document], specs: Sequence[CollectionSpec]) -> None:
    """Creates or updates validators and indexes; what is as expected is not touched.

    Raises:
        PyMongoError: The server does not answer, or refuses, for example an index over values that
            are not unique.
    """
    found = {
        collection["name"]: collection.get("options", {}).get("validator")
        for collection in await (await database.list_collections()).to_list()
    }
    for spec in specs:
        validator = {"$jsonSchema": spec.schema}
        if spec.name not in found:
            await _create(database, spec.name, validator)
        elif found[spec.name] != validator:
            await database.command("collMod", spec.name, validator=validator)
        if spec.indexes:
            with pymongo.timeout(_INDEX_BUILD_SECONDS):
                await database[spec.name].create_indexes(list(spec.indexes))


async def _create(database: AsyncDatabase[Document], name: str, validator: Document) -> None:
    try:
        await database.create_collection(name, validator=validator, check_exists=False)
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise
        # Another replica was faster, perhaps an older one.
        await database.command("collMod", name, validator=validator)


def object_schema(required: dict[str, str | list[str]], **optional: str | list[str]) -> Document:
    """Makes a `$jsonSchema` of fields by their bsonType; other fields are allowed.

    Args:
        required: bsonType (or several) of each field that must be there.
        **optional: The same for fields that may be missing.
    """
    return {
        "bsonType": "object",
        "required": list(required),
        "properties": {name: {"bsonType": kind} for name, kind in {**required, **optional}.items()},
    }
