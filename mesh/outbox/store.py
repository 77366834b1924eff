"""Where events wait in MongoDB until the broker has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from mesh.events import Event, to_record
from mesh.kafka.record import OutgoingRecord
from mesh.mongo.client import Client, Document, in_transaction
from mesh.mongo.migrations import CollectionSpec, object_schema

COLLECTION = "outbox"
LEASES = "leases"
ResultT = TypeVar("ResultT")

OUTBOX_SPECS = (
    CollectionSpec(
        COLLECTION,
        object_schema(
            {
                "_id": "string",
                "topic": "string",
                "key": "string",
                "sequence": ["int", "long"],
                "value": "binData",
                "headers": "object",
                "create_time": "date",
            }
        ),
        (IndexModel([("topic", 1), ("key", 1), ("sequence", 1)]),),
    ),
    CollectionSpec(LEASES, object_schema({"_id": "string", "owner": "string", "until": "date"})),
)


class Outbox:
    """The outbox of one service's database.

    Every change that others must hear of goes through `transaction`: what the callback writes and
    what it appends is committed together, and the relay of this process is woken.
    """

    def __init__(self, client: Client, database: AsyncDatabase[Document]) -> None:
        self._client = client
        self.database = database
        self._rows = database[COLLECTION]
        self.wake = asyncio.Event()

    async def transaction(
        self, callback: Callable[[AsyncClientSession], Awaitable[ResultT]]
    ) -> ResultT:
        """Runs the callback in a transaction; see `mesh.mongo.client.in_transaction`."""
        result = await in_transaction(self._client, callback)
        self.wake.set()
        return result

    async def append(self, session: AsyncClientSession, events: Sequence[Event]) -> None:
        """Adds events to the transaction of `session`."""
        if not events:
            return
        await self._rows.insert_many(
            [_to_row(event, to_record(event)) for event in events], session=session
        )

    async def pending(self, limit: int) -> list[Document]:
        """Returns waiting rows, oldest first, of each key without a gap before its first one.

        Ids are made before the commit and on several machines, so that a row may become visible
        after one with a greater id. Within one key the sequence decides, and rows of the same key
        beyond the limit are fetched too when they come earlier.
        """
        rows = await self._rows.find().sort("_id", 1).limit(limit).to_list()
        if len(rows) == limit:
            seen = {row["_id"] for row in rows}
            latest: dict[tuple[str, str], int] = {}
            for row in rows:
                aggregate = (row["topic"], row["key"])
                latest[aggregate] = max(latest.get(aggregate, 0), row["sequence"])
            keys = list({key for _, key in latest})
            async for row in self._rows.find({"key": {"$in": keys}}):
                aggregate = (row["topic"], row["key"])
                if row["_id"] not in seen and row["sequence"] < latest.get(aggregate, 0):
                    rows.append(row)
        return sorted(rows, key=lambda row: (row["topic"], row["key"], row["sequence"]))

    async def remove(self, row_ids: Sequence[str]) -> None:
        """Forgets rows that the broker has acknowledged."""
        await self._rows.delete_many({"_id": {"$in": list(row_ids)}})

    async def depth(self) -> int:
        """Returns how many rows wait."""
        return await self._rows.count_documents({})


def _to_row(event: Event, record: OutgoingRecord) -> Document:
    return {
        "_id": event.id,
        "topic": record.topic,
        "key": event.subject,
        "sequence": event.sequence,
        "value": record.value,
        "headers": dict(record.headers),
        "create_time": event.time,
    }


def to_outgoing(row: Document) -> OutgoingRecord:
    """Makes the Kafka record of a row."""
    return OutgoingRecord(
        topic=row["topic"],
        key=row["key"].encode(),
        value=row["value"],
        headers=tuple((name, bytes(value)) for name, value in row["headers"].items()),
    )
