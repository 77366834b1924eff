"""Interactions and the state of each person in MongoDB.

An interaction is stored in the batch of its person that was recorded together, under
`<user id>/<watermark>`, and by its event id, which names the batch. Batches of a person sort by
their watermark, which is the order in which they were accepted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from mesh.mongo.client import Document, Session
from mesh.mongo.lookup import find_by_ids
from reco_svc.domain import (
    HISTORY_CAP,
    HistoryEntry,
    Interaction,
    InteractionType,
    RecordedMeanwhile,
    UserState,
)
from reco_svc.store.schema import INTERACTION_BATCHES, INTERACTIONS, USER_STATE

# Ids contain no slash, and "0" follows "/" in ASCII: every batch of a user lies between the two.
_AFTER_SLASH = "0"


class InteractionStore:
    """Reads and writes interactions and user states."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._events = database[INTERACTIONS]
        self._batches = database[INTERACTION_BATCHES]
        self._states = database[USER_STATE]

    async def recorded(self, event_ids: Sequence[str], session: Session) -> dict[str, Interaction]:
        """Returns the interactions already recorded under these ids."""
        wanted = list(dict.fromkeys(event_ids))
        events = find_by_ids(self._events, wanted, session=session)
        batch_of = {event["_id"]: event["batch"] async for event in events}
        batches = find_by_ids(self._batches, sorted(set(batch_of.values())), session=session)
        return {
            row.event_id: row
            async for batch in batches
            for row in _rows(batch)
            if row.event_id in batch_of
        }

    async def insert(
        self,
        user_id: str,
        watermark: int,
        interactions: Sequence[Interaction],
        record_time: datetime,
        session: Session,
    ) -> None:
        """Writes the batch of one person; the occur_time of each row must be set.

        Raises:
            RecordedMeanwhile: One of the ids is recorded already; the transaction is lost.
        """
        batch_id = _batch_id(user_id, watermark)
        try:
            await self._events.insert_many(
                [{"_id": row.event_id, "batch": batch_id} for row in interactions],
                session=session,
            )
        except BulkWriteError as error:
            # A write conflict is tried again by the transaction itself.
            if error.has_error_label("TransientTransactionError"):
                raise
            raise RecordedMeanwhile from error
        await self._batches.insert_one(
            {
                "_id": batch_id,
                "user_id": user_id,
                "rows": [{"e": row.event_id, **_entry(row)} for row in interactions],
                "record_time": record_time,
            },
            session=session,
        )

    async def advance_state(
        self, user_id: str, accepted: Sequence[Interaction], session: Session
    ) -> int:
        """Appends to a person's history and returns the new watermark."""
        document = await self._states.find_one_and_update(
            {"_id": user_id},
            {
                "$push": {
                    "history": {
                        "$each": [_entry(row) for row in accepted],
                        "$slice": -HISTORY_CAP,
                    }
                },
                "$inc": {"version": 1},
            },
            projection={"version": 1},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        assert document is not None  # an upsert returns what it wrote
        return int(document["version"])

    async def state(self, user_id: str) -> UserState:
        """Returns a person's state; an empty one with watermark 0 if nothing was recorded."""
        document = await self._states.find_one({"_id": user_id})
        return UserState(user_id, 0, ()) if document is None else _to_state(document)

    async def states(self, *, batch: int = 200) -> AsyncIterator[UserState]:
        """Yields the state of everybody."""
        async for document in self._states.find(batch_size=batch):
            yield _to_state(document)

    async def page(
        self, user_id: str, before: tuple[int, int] | None, size: int
    ) -> list[tuple[tuple[int, int], Interaction]]:
        """Returns up to `size` interactions of a user with their positions, latest first.

        Args:
            user_id: Whose.
            before: Position (watermark, place in its batch) of the last one of the page before.
            size: How many at most.
        """
        upper = f"{user_id}{_AFTER_SLASH}" if before is None else _batch_id(user_id, before[0] + 1)
        batches = self._batches.find({"_id": {"$gte": f"{user_id}/", "$lt": upper}})
        found: list[tuple[tuple[int, int], Interaction]] = []
        async for batch in batches.sort("_id", -1).limit(size + 1):
            watermark = int(batch["_id"].rpartition("/")[2])
            for place, row in reversed(list(enumerate(_rows(batch)))):
                position = (watermark, place)
                if before is None or position < before:
                    found.append((position, row))
                if len(found) == size:
                    return found
        return found

    async def any(self) -> bool:
        """Tells whether anything is recorded."""
        # One document per person, and counted: the embedded database reads a whole collection to
        # find any document of it.
        return await self._states.estimated_document_count() > 0

    async def everything(self) -> AsyncIterator[Interaction]:
        """Yields all interactions; those of one person in the order they were accepted."""
        async for batch in self._batches.find({}, batch_size=500).sort("_id", 1):
            for row in _rows(batch):
                yield row

    async def forget(self, user_id: str) -> None:
        """Deletes a person's interactions and state."""
        own = {"_id": {"$gte": f"{user_id}/", "$lt": f"{user_id}{_AFTER_SLASH}"}}
        async for batch in self._batches.find(own):
            events = [row.event_id for row in _rows(batch)]
            await self._events.delete_many({"_id": {"$in": events}})
            await self._batches.delete_one({"_id": batch["_id"]})
        await self._states.delete_one({"_id": user_id})


def _batch_id(user_id: str, watermark: int) -> str:
    return f"{user_id}/{watermark:012d}"


def _entry(row: Interaction) -> Document:
    return {"m": row.movie_id, "t": int(row.type), "v": row.value, "o": row.occur_time}


def _rows(batch: Document) -> list[Interaction]:
    return [
        Interaction(
            event_id=row["e"],
            user_id=batch["user_id"],
            movie_id=row["m"],
            type=InteractionType(row["t"]),
            value=float(row["v"]),
            occur_time=row["o"],
        )
        for row in batch["rows"]
    ]


def _to_state(document: Document) -> UserState:
    return UserState(
        user_id=document["_id"],
        watermark=document["version"],
        history=tuple(
            HistoryEntry(entry["m"], InteractionType(entry["t"]), float(entry["v"]), entry["o"])
            for entry in document["history"]
        ),
    )
