"""Two writers create the same document: whatever the database says, the slower one tries again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Client, Document, Session
from mesh.mongo.migrations import migrate
from mesh.outbox.store import Outbox
from mesh.times import now
from reco_svc.domain import (
    Interaction,
    InteractionType,
    Movie,
    ProfileVersion,
    RecordedBatch,
    ToldList,
    UserProfile,
)
from reco_svc.service.attempts import write_again_if_raced
from reco_svc.store import schema
from reco_svc.store.interactions import InteractionStore
from reco_svc.store.models import ModelStore
from reco_svc.store.movies import MovieStore
from reco_svc.store.people import ProfileStore, ToldListStore

MOMENT = now()
ROW = Interaction("e1", "ada", "heat", InteractionType.LIKE, 0.0, MOMENT)
HEAT = Movie("heat", "Heat", (), 1995, (), MOMENT, MOMENT)
Write = Callable[[AsyncDatabase[Document], Session], Awaitable[Any]]


async def put_movie(database: AsyncDatabase[Document], session: Session) -> None:
    store = MovieStore(database)
    known = await store.get(["heat"], session)
    await store.put([] if known else [HEAT], [], session)


async def record(database: AsyncDatabase[Document], session: Session) -> None:
    store = InteractionStore(database)
    if not await store.recorded([ROW.key], session):
        await store.insert([RecordedBatch("ada", 1, (ROW,), MOMENT)], session)


async def advance(database: AsyncDatabase[Document], session: Session) -> int:
    states = await InteractionStore(database).advance_states({"ada": [ROW]}, MOMENT, session)
    return states["ada"]


async def forget(database: AsyncDatabase[Document], session: Session) -> int:
    return await InteractionStore(database).forget("ada", 3, session)


async def promote(database: AsyncDatabase[Document], session: Session) -> int:
    return await ModelStore(database).promote("v1", MOMENT, session)


async def put_profile(database: AsyncDatabase[Document], session: Session) -> None:
    await ProfileStore(database).put("ada", ProfileVersion(1), UserProfile(), session)


async def put_list(database: AsyncDatabase[Document], session: Session) -> None:
    await ToldListStore(database).put("ada", ToldList(1, ("heat",), 1, "v1"), session)


@pytest.mark.parametrize(
    ("write", "collection", "result"),
    [
        (put_movie, schema.MOVIES, None),
        (record, schema.INTERACTIONS, None),
        (advance, schema.USER_STATE, 2),
        (forget, schema.USER_STATE, 2),
        (promote, schema.SERVING, 2),
        (put_profile, schema.USER_PROFILES, None),
        (put_list, schema.TOLD_LISTS, None),
    ],
)
async def test_the_slower_writer_tries_again(
    mongo_client: Client,
    mongo_database: AsyncDatabase[Document],
    write: Write,
    collection: str,
    result: int | None,
) -> None:
    await migrate(mongo_database, schema.SPECS)
    outbox = Outbox(mongo_client, mongo_database)
    runs = 0

    async def slower(session: Session) -> Any:
        nonlocal runs
        runs += 1
        await mongo_database[collection].find_one({"_id": "nothing"}, session=session)
        if runs == 1:  # the transaction has begun, and now somebody else is faster
            await outbox.transaction(lambda other: write(mongo_database, other))
        return await write(mongo_database, session)

    assert await write_again_if_raced(outbox, slower) == result
    assert runs == 2
    assert await mongo_database[collection].count_documents({}) == 1


async def test_first_lists_leave_those_that_are_there(
    mongo_database: AsyncDatabase[Document],
) -> None:
    await migrate(mongo_database, schema.SPECS)
    lists = ToldListStore(mongo_database)
    await lists.put_first([])
    await lists.put_first([("ada", ToldList(1, ("heat",), 1, "v1"))])
    await lists.put_first(
        [("ada", ToldList(1, ("other",), 2, "v2")), ("bob", ToldList(1, ("fargo",), 1, "v2"))]
    )
    ada, bob = await lists.get("ada"), await lists.get("bob")
    assert ada is not None
    assert bob is not None
    assert (ada.movie_ids, bob.movie_ids) == (("heat",), ("fargo",))
