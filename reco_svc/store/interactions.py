"""Interactions and the state of each person in MongoDB.

An interaction is stored in the batch of its person that was recorded together, under
`<user id>/<watermark>`; under `<user id>/<event id>` stands in which. No id contains a slash. The
watermarks of a person's batches have no gaps, so batches are found by their ids alone.

The state of a person who was deleted stays behind, empty, so that interactions which arrive late
are refused and watermarks go on growing if the id is used again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from pymongo import DeleteOne, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Document, Session
from mesh.mongo.lookup import find_by_ids
from reco_svc.domain import (
    HISTORY_CAP,
    HistoryEntry,
    Interaction,
    InteractionKey,
    InteractionType,
    PeopleDeletedError,
    RecordedBatch,
    UserState,
)
from reco_svc.store.races import creating
from reco_svc.store.schema import INTERACTION_BATCHES, INTERACTIONS, USER_STATE

_FIRST_LOOKUP = 4
_LONGEST_LOOKUP = 50


class InteractionStore:
    """Reads and writes interactions and user states."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._events = database[INTERACTIONS]
        self._batches = database[INTERACTION_BATCHES]
        self._states = database[USER_STATE]

    async def recorded(
        self, keys: Sequence[InteractionKey], session: Session
    ) -> dict[InteractionKey, Interaction]:
        """Returns the interactions already recorded under these keys."""
        wanted = set(keys)
        events = find_by_ids(self._events, sorted(map(_event_key, wanted)), session=session)
        batch_ids = {event["batch"] async for event in events}
        batches = find_by_ids(self._batches, sorted(batch_ids), session=session)
        return {
            row.key: row async for batch in batches for row in _rows(batch) if row.key in wanted
        }

    async def insert(self, batches: Sequence[RecordedBatch], session: Session) -> None:
        """Writes batches of different people.

        Raises:
            CreatedMeanwhile: One of the interactions is recorded already; the transaction is lost.
        """
        with creating():
            await self._events.insert_many(
                [
                    {"_id": _event_key(row.key), "batch": _batch_id(batch.user_id, batch.watermark)}
                    for batch in batches
                    for row in batch.rows
                ],
                session=session,
            )
        await self._batches.insert_many(
            [
                {
                    "_id": _batch_id(batch.user_id, batch.watermark),
                    "user_id": batch.user_id,
                    "rows": [{"e": row.event_id, **_entry(row)} for row in batch.rows],
                    "record_time": batch.record_time,
                }
                for batch in batches
            ],
            session=session,
        )

    async def advance_states(
        self,
        accepted: Mapping[str, Sequence[Interaction]],
        record_time: datetime,
        session: Session,
    ) -> dict[str, int]:
        """Appends to the histories of people and returns their new watermarks.

        Raises:
            PeopleDeletedError: Some of them were deleted; the transaction must be given up.
            CreatedMeanwhile: Another writer was the first to hear of one; the transaction is lost.
        """
        # In one order, so that two batches of the same people do not wait for each other in turn.
        # Written and then read, since to do both at once takes the embedded database ten times as
        # long.
        user_ids = sorted(accepted)
        with creating():
            await self._states.bulk_write(
                [
                    UpdateOne(
                        {"_id": user_id},
                        {
                            "$push": {
                                "history": {
                                    "$each": [_entry(row) for row in accepted[user_id]],
                                    "$slice": -HISTORY_CAP,
                                }
                            },
                            "$set": {"record_time": record_time},
                            "$inc": {"version": 1},
                        },
                        upsert=True,
                    )
                    for user_id in user_ids
                ],
                session=session,
            )
        fields = {"version": 1, "deleted_version": 1}
        written = find_by_ids(self._states, user_ids, projection=fields, session=session)
        found = {state["_id"]: state async for state in written}
        deleted = {user_id for user_id, state in found.items() if "deleted_version" in state}
        if deleted:
            raise PeopleDeletedError(deleted)
        return {user_id: int(state["version"]) for user_id, state in found.items()}

    async def state(self, user_id: str) -> UserState:
        """Returns a person's state; an empty one with watermark 0 if nothing was recorded."""
        document = await self._states.find_one({"_id": user_id})
        return UserState(user_id, 0, ()) if document is None else to_state(document)

    async def states(self, *, batch: int = 200) -> AsyncIterator[UserState]:
        """Yields the state of everybody."""
        async for document in self._states.find(batch_size=batch):
            yield to_state(document)

    async def page(
        self, user_id: str, before: tuple[int, int] | None, size: int
    ) -> list[tuple[tuple[int, int], Interaction]]:
        """Returns up to `size` interactions of a user with their positions, latest first.

        Args:
            user_id: Whose.
            before: Position (watermark, place in its batch) of the last one of the page before.
            size: How many at most.
        """
        watermark = await self._watermark(user_id) if before is None else before[0]
        found: list[tuple[tuple[int, int], Interaction]] = []
        lookup = _FIRST_LOOKUP
        while watermark > 0 and len(found) < size:
            wanted = range(watermark, max(0, watermark - lookup), -1)
            batches = await self._batches_at(user_id, wanted)
            if not batches:
                break  # whatever was before is forgotten
            found += [
                ((at, place), row)
                for at in wanted
                for place, row in reversed(list(enumerate(batches.get(at, ()))))
                if before is None or (at, place) < before
            ]
            watermark -= lookup
            lookup = min(2 * lookup, _LONGEST_LOOKUP)
        return found[:size]

    async def batches_of(self, user_id: str) -> AsyncIterator[RecordedBatch]:
        """Yields everything recorded of a person, the latest first."""
        for top in range(await self._watermark(user_id), 0, -_LONGEST_LOOKUP):
            wanted = range(top, max(0, top - _LONGEST_LOOKUP), -1)
            ids = [_batch_id(user_id, watermark) for watermark in wanted]
            found = {row["_id"]: row async for row in find_by_ids(self._batches, ids)}
            for batch_id in ids:
                if batch_id in found:
                    yield _to_batch(found[batch_id])

    async def any(self) -> bool:
        """Tells whether anything is recorded."""
        # One document per person, and counted: the embedded database reads a whole collection to
        # find any document of it.
        return await self._states.estimated_document_count() > 0

    async def batches(self) -> AsyncIterator[RecordedBatch]:
        """Yields everything recorded; the batches of one person in the order of their watermarks.

        How long it takes grows with what there is: call it under a `pymongo.timeout` of its own.
        """
        async for batch in self._batches.find({}, batch_size=500).sort("_id", 1):
            yield _to_batch(batch)

    async def forget(self, user_id: str, deleted_version: int, session: Session) -> int:
        """Deletes a person's interactions and history; later ones are refused until `revive`.

        Args:
            user_id: Who.
            deleted_version: The version at which the user service deleted them.
            session: A concurrent recording of theirs conflicts with its transaction.

        Returns:
            The watermark of the empty state that stays.
        """
        with creating():
            await self._states.update_one(
                {"_id": user_id},
                {
                    "$set": {"history": [], "deleted_version": deleted_version},
                    "$inc": {"version": 1},
                },
                upsert=True,
                session=session,
            )
        watermark = await self._watermark(user_id, session)
        for top in range(watermark - 1, 0, -_LONGEST_LOOKUP):
            wanted = range(top, max(0, top - _LONGEST_LOOKUP), -1)
            batches = await self._batches_at(user_id, wanted, session)
            if not batches:
                break  # forgotten by an earlier deletion
            events = [_event_key(row.key) for rows in batches.values() for row in rows]
            await self._events.bulk_write(
                [DeleteOne({"_id": event}) for event in events], session=session
            )
            await self._batches.bulk_write(
                [DeleteOne({"_id": _batch_id(user_id, at)}) for at in batches], session=session
            )
        return watermark

    async def revive(self, user_id: str, session: Session) -> None:
        """Takes interactions again of somebody whose id is in use again."""
        await self._states.update_one(
            {"_id": user_id}, {"$unset": {"deleted_version": ""}}, session=session
        )

    async def _watermark(self, user_id: str, session: Session | None = None) -> int:
        document = await self._states.find_one({"_id": user_id}, {"version": 1}, session=session)
        return 0 if document is None else int(document["version"])

    async def _batches_at(
        self, user_id: str, watermarks: Sequence[int], session: Session | None = None
    ) -> dict[int, list[Interaction]]:
        ids = {_batch_id(user_id, watermark): watermark for watermark in watermarks}
        batches = find_by_ids(self._batches, list(ids), session=session)
        return {ids[batch["_id"]]: _rows(batch) async for batch in batches}


def _event_key(key: InteractionKey) -> str:
    return "/".join(key)


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


def _to_batch(batch: Document) -> RecordedBatch:
    return RecordedBatch(
        batch["user_id"],
        int(batch["_id"].rpartition("/")[2]),
        tuple(_rows(batch)),
        batch["record_time"],
    )


def to_state(document: Document) -> UserState:
    """Reads a document of `user_state`."""
    return UserState(
        user_id=document["_id"],
        watermark=document["version"],
        history=tuple(
            HistoryEntry(entry["m"], InteractionType(entry["t"]), float(entry["v"]), entry["o"])
            for entry in document["history"]
        ),
        record_time=document.get("record_time"),
    )
