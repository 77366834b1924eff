"""Where events wait in MongoDB until the broker has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pymongo import DeleteOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from mesh.events import Event, to_record
from mesh.kafka.record import OutgoingRecord
from mesh.mongo.client import Client, Document, in_transaction
from mesh.mongo.migrations import CollectionSpec, object_schema

COLLECTION = "outbox"
LEASES = "leases"
ResultT = TypeVar("ResultT")

# Kafka's default limit is 1 MiB for a record with its key and headers.
_MAX_EVENT_BYTES = 1000 * 1000

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
        """Adds events to the transaction of `session`.

        Raises:
            RuntimeError: There is no transaction: state and events would not be committed together.
            ValueError: An event is larger than a broker takes; it would never leave.
        """
        if not session.in_transaction:
            raise RuntimeError("events are appended inside of a transaction only")
        if not events:
            return
        rows = [_to_row(event, to_record(event)) for event in events]
        for row in rows:
            if len(row["value"]) > _MAX_EVENT_BYTES:
                raise ValueError(f"event {row['_id']} has {len(row['value'])} bytes")
        await self._rows.insert_many(rows, session=session)

    async def pending(self, after: str, limit: int) -> list[Document]:
        """Returns waiting rows in the order of their ids, each key's rows in their order.

        Within one key a row is committed only after those before it, since each transaction writes
        the aggregate; read in one snapshot, a row is never seen without them. The snapshot is one
        that a majority has: nothing in it can be undone by a failover.

        Args:
            after: Only rows with a greater id; empty: from the beginning.
            limit: How many at most.
        """
        query = {"_id": {"$gt": after}} if after else {}
        async with self._client.start_session(snapshot=True) as session:
            return (
                await self._rows.find(query, session=session).sort("_id", 1).limit(limit).to_list()
            )

    async def remove(self, row_ids: Sequence[str]) -> None:
        """Forgets rows that the broker has acknowledged."""
        deletions = [DeleteOne({"_id": row_id}) for row_id in row_ids]
        # One transaction, so that a server that syncs every commit to disk does so once.
        await in_transaction(
            self._client,
            lambda session: self._rows.bulk_write(deletions, ordered=False, session=session),
        )

    async def depth(self) -> int:
        """Returns how many rows wait."""
        return await self._rows.count_documents({})


def end_of_key(row: Document) -> str:
    """Returns an id behind every row of the key of `row` and before those of the next one."""
    return f"{row['topic']}/{row['key']}0"  # "0" follows "/"


def _to_row(event: Event, record: OutgoingRecord) -> Document:
    return {
        # Sorts the rows of one key next to each other and in their order.
        "_id": f"{record.topic}/{event.subject}/{event.sequence:020d}/{event.id}",
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
