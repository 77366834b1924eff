"""Interactions and the state of each person in MongoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from mesh.mongo.client import Document, Session
from reco_svc.domain import (
    HISTORY_CAP,
    HistoryEntry,
    Interaction,
    InteractionType,
    RecordedMeanwhile,
    UserState,
)
from reco_svc.store.schema import INTERACTIONS, USER_STATE


class InteractionStore:
    """Reads and writes interactions and user states."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._interactions = database[INTERACTIONS]
        self._states = database[USER_STATE]

    async def recorded(self, event_ids: Sequence[str], session: Session) -> dict[str, Interaction]:
        """Returns the interactions already recorded under these ids."""
        cursor = self._interactions.find({"_id": {"$in": list(event_ids)}}, session=session)
        return {document["_id"]: _to_interaction(document) async for document in cursor}

    async def insert(
        self,
        interactions: Sequence[Interaction],
        record_time: datetime,
        session: Session,
    ) -> None:
        """Writes new interactions; their occur_time must be set.

        Raises:
            RecordedMeanwhile: Another call recorded one of the ids; the transaction is lost.
        """
        documents = [
            {
                "_id": row.event_id,
                "user_id": row.user_id,
                "movie_id": row.movie_id,
                "type": int(row.type),
                "value": row.value,
                "occur_time": row.occur_time,
                "record_time": record_time,
            }
            for row in interactions
        ]
        try:
            await self._interactions.insert_many(documents, session=session)
        except BulkWriteError as error:
            # A write conflict is tried again by the transaction itself.
            if error.has_error_label("TransientTransactionError"):
                raise
            raise RecordedMeanwhile from error

    async def advance_state(
        self, user_id: str, accepted: Sequence[Interaction], session: Session
    ) -> int:
        """Appends to a person's history and returns the new watermark."""
        entries = [
            {
                "m": row.movie_id,
                "t": int(row.type),
                "v": row.value,
                "o": row.occur_time,
            }
            for row in accepted
        ]
        document = await self._states.find_one_and_update(
            {"_id": user_id},
            {
                "$push": {"history": {"$each": entries, "$slice": -HISTORY_CAP}},
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
        self, user_id: str, before: tuple[datetime, str] | None, size: int
    ) -> list[Interaction]:
        """Returns up to `size` interactions of a user, newest first.

        One person's interactions are few: they are found by an index and sorted afterwards, which
        spares every write a wider index.

        Args:
            user_id: Whose.
            before: (occur_time, event id) of the last one of the page before.
            size: How many at most.
        """
        query: Document = {"user_id": user_id}
        if before is not None:
            moment, event_id = before
            query["$or"] = [
                {"occur_time": {"$lt": moment}},
                {"occur_time": moment, "_id": {"$lt": event_id}},
            ]
        cursor = self._interactions.find(query).sort([("occur_time", -1), ("_id", -1)])
        return [_to_interaction(document) async for document in cursor.limit(size)]

    async def any(self) -> bool:
        """Tells whether anything is recorded."""
        return await self._interactions.find_one({}, {"_id": 1}) is not None

    async def watched(self) -> AsyncIterator[tuple[str, str, datetime]]:
        """Yields (event id, movie id, occur_time) of all interactions, in no order."""
        projection = {"movie_id": 1, "occur_time": 1}
        async for row in self._interactions.find({}, projection, batch_size=10_000):
            yield row["_id"], row["movie_id"], row["occur_time"]

    async def everything(self) -> AsyncIterator[tuple[str, str, InteractionType, datetime]]:
        """Yields (user id, movie id, type, occur_time) of all interactions, in no order."""
        projection = {"_id": 0, "user_id": 1, "movie_id": 1, "type": 1, "occur_time": 1}
        async for row in self._interactions.find({}, projection, batch_size=10_000):
            kind = InteractionType(row["type"])
            yield row["user_id"], row["movie_id"], kind, row["occur_time"]

    async def forget(self, user_id: str) -> None:
        """Deletes a person's interactions and state."""
        await self._interactions.delete_many({"user_id": user_id})
        await self._states.delete_one({"_id": user_id})


def _to_interaction(document: Mapping[str, object]) -> Interaction:
    row: Document = dict(document)
    return Interaction(
        event_id=row["_id"],
        user_id=row["user_id"],
        movie_id=row["movie_id"],
        type=InteractionType(row["type"]),
        value=float(row["value"]),
        occur_time=row["occur_time"],
    )


def _to_state(document: Document) -> UserState:
    return UserState(
        user_id=document["_id"],
        watermark=document["version"],
        history=tuple(
            HistoryEntry(entry["m"], InteractionType(entry["t"]), float(entry["v"]), entry["o"])
            for entry in document["history"]
        ),
    )
