"""What the user service tells of people, and who is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from marquee.events.v1 import events_pb2
from marquee.reco.v1 import interaction_service_pb2 as pb
from marquee.reco.v1 import recommendation_service_pb2 as recommendation_pb
from marquee.user.v1 import user_pb2
from pymongo.asynchronous.database import AsyncDatabase

from mesh.events import new_event
from mesh.kafka.topics import RECOMMENDATION_EVENTS
from mesh.mongo.client import Client, Document
from mesh.outbox.store import Outbox
from reco_svc.consumers import PeopleConsumer
from reco_svc.domain import Answer, ScoredMovie, Source, UserState
from reco_svc.service.people import PeopleService
from reco_svc.service.refresh import RefreshRules, RefreshService
from reco_svc.store import schema
from reco_svc.store.interactions import InteractionStore
from reco_svc.store.people import ProfileStore, ToldListStore

PERSONAL_COLLECTIONS = (schema.INTERACTIONS, schema.INTERACTION_BATCHES)
PREFERENCE, POPULAR = 3, 4


class People:
    """The consumer of the user service's events, on the database of a running replica."""

    def __init__(self, client: Client, database: AsyncDatabase[Document]) -> None:
        self.outbox = Outbox(client, database)
        self.interactions = InteractionStore(database)
        self.lists = ToldListStore(database)
        service = PeopleService(self.outbox, ProfileStore(database), self.interactions, self.lists)
        self._consumer = PeopleConsumer(service)

    async def changed(self, user_id: str, version: int, *liked: str) -> None:
        message = events_pb2.UserChanged(
            user=user_pb2.User(id=user_id),
            preferences=user_pb2.Preferences(liked_genres=liked),
            version=version,
        )
        await self._consumer.handle(new_event("/test", user_id, version, message))

    async def deleted(self, user_id: str, version: int) -> None:
        message = events_pb2.UserDeleted(user_id=user_id, version=version)
        await self._consumer.handle(new_event("/test", user_id, version, message))


@pytest.fixture
def people(reco: Any, world: Any, mongo_client: Client) -> People:
    return People(mongo_client, world.database)


async def listed(reco: Any, user_id: str) -> list[str]:
    answer = await reco.interactions.ListInteractions(pb.ListInteractionsRequest(user_id=user_id))
    return [interaction.event_id for interaction in answer.interactions]


async def sources(reco: Any, user_id: str) -> list[tuple[str, int]]:
    answer = await reco.recommendations.Recommend(
        recommendation_pb.RecommendRequest(user_id=user_id, limit=1)
    )
    return [(found.movie.id, found.source) for found in answer.recommendations]


async def test_the_latest_profile_stands_whatever_comes_again(reco: Any, people: People) -> None:
    await reco.add_movies("heat", genres=["Crime"])
    await reco.add_movies("bambi", genres=["Animation"])
    await people.changed("ada", 1, "Crime")
    assert await sources(reco, "ada") == [("heat", PREFERENCE)]
    await people.changed("ada", 2, "Animation")
    await people.changed("ada", 1, "Crime")
    assert await sources(reco, "ada") == [("bambi", PREFERENCE)]


async def test_a_deletion_forgets_everything_and_nobody_else(
    reco: Any, world: Any, people: People, interaction: Any
) -> None:
    await reco.add_movies("heat", genres=["Crime"])
    await people.changed("ada", 1, "Crime")
    for batch in range(7):
        await reco.record(
            interaction("ada", "heat", f"e{batch}"), interaction("ada0", "heat", f"e{batch}")
        )
    await world.database[schema.TOLD_LISTS].insert_one(
        {"_id": "ada", "version": 1, "movie_ids": ["heat"], "watermark": 7, "model_version": "v"}
    )
    await people.deleted("ada", 2)
    assert await listed(reco, "ada") == []
    assert await sources(reco, "ada") == [("heat", POPULAR)]
    assert sorted(await listed(reco, "ada0")) == [f"e{batch}" for batch in range(7)]
    answer = await reco.record(interaction("ada0", "heat", "e0"))
    assert [result.status for result in answer.results] == [pb.INTERACTION_STATUS_DUPLICATE]
    for name in PERSONAL_COLLECTIONS:
        kept = await world.database[name].find().to_list()
        assert len(kept) == 7
        assert "ada/" not in str(kept)
    told = await world.database[schema.TOLD_LISTS].find_one({"_id": "ada"})
    assert told is not None
    assert told["movie_ids"] == []


async def test_what_arrives_after_the_deletion_is_refused(
    reco: Any, people: People, interaction: Any
) -> None:
    await reco.add_movies("heat")
    await people.deleted("ada", 5)  # had never been heard of
    answer = await reco.record(
        interaction("ada", "heat", "late"), interaction("bob", "heat", "other")
    )
    assert [result.status for result in answer.results] == [
        pb.INTERACTION_STATUS_INVALID,
        pb.INTERACTION_STATUS_ACCEPTED,
    ]
    assert answer.results[0].message.startswith("user_id: ")
    assert dict(answer.watermarks) == {"bob": 1}
    assert await listed(reco, "ada") == []
    await people.changed("ada", 4, "Crime")  # an old event, delivered again
    answer = await reco.record(interaction("ada", "heat", "late"))
    assert [result.status for result in answer.results] == [pb.INTERACTION_STATUS_INVALID]


async def test_an_id_that_is_used_again_begins_anew_and_goes_on_counting(
    reco: Any, people: People, interaction: Any
) -> None:
    await reco.add_movies("heat")
    await reco.record(interaction("ada", "heat", "e1"))
    await reco.record(interaction("ada", "heat", "e2"))
    await people.deleted("ada", 2)
    await people.changed("ada", 3)
    answer = await reco.record(interaction("ada", "heat", "e1"))  # forgotten, so it is new
    assert [result.status for result in answer.results] == [pb.INTERACTION_STATUS_ACCEPTED]
    assert answer.watermarks["ada"] > 2
    await people.deleted("ada", 2)  # the deletion, delivered again: nothing of now is lost
    assert await listed(reco, "ada") == ["e1"]
    await people.deleted("ada", 4)
    assert await listed(reco, "ada") == []


async def test_a_deletion_beside_recordings_leaves_nothing_behind(
    reco: Any, world: Any, people: People, interaction: Any
) -> None:
    await reco.add_movies("heat")

    async def record(number: int) -> None:
        await asyncio.sleep(number / 200)
        await reco.record(interaction("ada", "heat", f"e{number}"))

    async def delete() -> None:
        await asyncio.sleep(0.04)
        await people.deleted("ada", 2)

    await asyncio.gather(delete(), *(record(number) for number in range(16)))
    assert await listed(reco, "ada") == []
    for name in PERSONAL_COLLECTIONS:
        assert await world.database[name].count_documents({}) == 0
    state = await world.database[schema.USER_STATE].find_one({"_id": "ada"})
    assert state is not None
    assert state["history"] == []


class Recommender:
    """Recommends one movie to whoever has a history; what is to happen meanwhile happens first."""

    def __init__(self) -> None:
        self.computed = 0
        self.watermarks: list[int] = []

    def for_state(self, state: UserState, limit: int, *, explain: bool = False) -> Answer:
        self.computed += 1
        self.watermarks.append(state.watermark)
        best = (ScoredMovie("heat", 1.0, Source.PERSONAL),) if state.history else ()
        return Answer(best, state.watermark, "v", "i")


def refresh_on(people: People, recommender: Any, catalog: Any) -> RefreshService:
    async def promoted() -> str:
        return "v"

    return RefreshService(
        people.outbox,
        people.lists,
        people.interactions,
        recommender,
        catalog,
        rules=RefreshRules(size=1, new=1, debounce_seconds=0),
        serving_version=lambda: "v",
        promoted_version=promoted,
        ending=lambda: False,
    )


class NoMovies:
    movies: dict[str, Any] = {}  # noqa: RUF012  # never changed


async def test_two_handlers_of_one_person_tell_them_once(
    reco: Any, world: Any, people: People, interaction: Any
) -> None:
    await reco.add_movies("heat")
    await reco.record(interaction("ada", "heat"))
    refresh = refresh_on(people, Recommender(), NoMovies())
    await asyncio.gather(*(refresh.after_interactions("ada", 1, ["heat"]) for _ in range(4)))
    assert len(await world.announced(RECOMMENDATION_EVENTS)) == 1
    told = await people.lists.get("ada")
    assert told is not None
    assert (told.version, told.movie_ids, told.watermark) == (1, ("heat",), 1)


async def test_a_list_that_was_on_its_way_does_not_outlive_its_person(
    reco: Any, world: Any, people: People, interaction: Any
) -> None:
    await reco.add_movies("heat")
    await reco.record(interaction("ada", "heat"))
    recommender = Recommender()
    refresh = refresh_on(people, recommender, NoMovies())
    transaction = people.outbox.transaction

    async def after_the_deletion(callback: Any) -> Any:
        people.outbox.transaction = transaction  # type: ignore[method-assign]  # once
        await people.deleted("ada", 2)
        return await transaction(callback)

    people.outbox.transaction = after_the_deletion  # type: ignore[method-assign]  # see above
    await refresh.after_interactions("ada", 1, ["heat"])
    assert recommender.watermarks[-1] == 2  # looked again, and saw that nothing is left
    assert await world.announced(RECOMMENDATION_EVENTS) == []
    told = await people.lists.get("ada")
    assert told is not None
    assert told.movie_ids == ()
