"""When a person is told that their list has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from mesh.errors import Unavailable
from mesh.events import Event
from reco_svc.domain import (
    CreatedMeanwhile,
    HistoryEntry,
    InteractionType,
    Movie,
    ToldList,
    UserState,
)
from reco_svc.index.movie_index import MovieIndex
from reco_svc.index.serving_model import ServingModel
from reco_svc.ranking.model import Factors
from reco_svc.service.recommend import RecommendService
from reco_svc.service.refresh import RefreshRules, RefreshService

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# Movies on a circle, a degree apart: the nearest to one that is liked come next to it.
CIRCLE = [f"m{degree:03d}" for degree in range(360)]


def circle(version: str, *, shift: int = 0) -> ServingModel:
    """A model whose movies lie on a circle; shifted ones stand for another model's view of them."""
    angles = np.radians([(degree + shift * (degree % 2)) % 360 for degree in range(360)])
    vectors = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    index = MovieIndex(Factors(tuple(CIRCLE), vectors, vectors))
    return ServingModel(version, index, frozenset(), 360, NOON)


def liked(*movie_ids: str) -> tuple[HistoryEntry, ...]:
    return tuple(HistoryEntry(each, InteractionType.LIKE, 0.0, NOON) for each in movie_ids)


class Fakes:
    """Everything around the use case, in memory."""

    def __init__(self) -> None:
        self.model: ServingModel | None = circle("v1")
        self.promoted: str | None = "v1"
        self.people: dict[str, UserState] = {}
        self.told: dict[str, ToldList] = {}
        self.writes = 0
        self.events: list[Any] = []
        self.before_transaction: list[Callable[[], None]] = []
        self.ends = False
        self.service = RefreshService(
            self,
            self,
            self,
            RecommendService(self, self, self, self, self),  # type: ignore[arg-type]  # get: two ports
            self,
            rules=RefreshRules(size=6, new=3, debounce_seconds=0),
            serving_version=lambda: self.model.version if self.model else "",
            promoted_version=self._promoted_version,
            ending=lambda: self.ends,
        )

    # Serving, CatalogCopy, PopularityCounts
    @property
    def current(self) -> ServingModel | None:
        return self.model

    @property
    def movies(self) -> Mapping[str, Movie]:
        return {}

    def add(self, movies: Sequence[Any]) -> None:
        raise AssertionError("nothing is recorded here")

    async def unknown(self, movie_ids: Sequence[str]) -> set[str]:
        return set()

    def top(self, limit: int, *, without: Any = ()) -> list[tuple[str, float]]:
        return []

    def score(self, movie_id: str) -> float:
        return 0.0

    async def _promoted_version(self) -> str | None:
        return self.promoted

    # States
    async def state(self, user_id: str) -> UserState:
        return self.people.get(user_id, UserState(user_id, 0, ()))

    async def states(self) -> AsyncIterator[UserState]:
        for state in list(self.people.values()):
            yield state

    # ToldLists
    async def get(self, user_id: str, session: Any = None) -> ToldList | None:
        return self.told.get(user_id)

    async def put(self, user_id: str, told: ToldList, session: Any) -> None:
        self.writes += 1
        self.told[user_id] = told

    async def put_first(self, lists: Sequence[tuple[str, ToldList]]) -> None:
        for user_id, told in lists:
            self.told.setdefault(user_id, told)

    # Transactions
    async def transaction(self, callback: Callable[[Any], Awaitable[Any]]) -> Any:
        if self.before_transaction:
            self.before_transaction.pop(0)()
        return await callback(None)

    async def append(self, session: Any, events: Sequence[Event]) -> None:
        self.events += [event.message for event in events]

    def likes(self, user_id: str, *movie_ids: str) -> int:
        """Records a batch; returns the watermark."""
        before = self.people.get(user_id, UserState(user_id, 0, ()))
        state = UserState(user_id, before.watermark + 1, before.history + liked(*movie_ids))
        self.people[user_id] = state
        return state.watermark


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


def near(degree: int, *, without: Sequence[int] = ()) -> set[str]:
    """The six movies nearest to one on the circle, which is itself known."""
    ids = sorted(range(360), key=lambda other: min((other - degree) % 360, (degree - other) % 360))
    return {CIRCLE[each] for each in [i for i in ids if i != degree and i not in without][:6]}


async def test_the_first_list_of_somebody_new_is_all_news(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")
    await fakes.service.after_interactions("ada", watermark, ["m100"])
    (event,) = fakes.events
    assert set(event.new_movie_ids) == near(100)
    assert [movie.movie_id for movie in event.movies] == list(event.new_movie_ids)
    assert (event.watermark, event.model_version) == (1, "v1")
    assert [list(movie.because_titles) for movie in event.movies] == [["m100"]] * 6
    assert fakes.told["ada"] == ToldList(1, tuple(event.new_movie_ids), 1, "v1")


async def test_the_same_event_again_does_nothing(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")
    for _ in range(3):
        await fakes.service.after_interactions("ada", watermark, ["m100"])
    assert (len(fakes.events), fakes.writes) == (1, 1)


async def test_little_news_is_kept_back_until_it_is_enough(fakes: Fakes) -> None:
    await fakes.service.after_interactions("ada", fakes.likes("ada", "m100"), ["m100"])
    first = fakes.told["ada"]
    # Two degrees further on: m100's list around 101 instead of 100, with one or two new.
    await fakes.service.after_interactions("ada", fakes.likes("ada", "m102"), ["m102"])
    assert len(fakes.events) == 1
    assert fakes.told["ada"] == replace(first, version=2, watermark=2)
    await fakes.service.after_interactions("ada", fakes.likes("ada", "m110"), ["m110"])
    assert len(fakes.events) == 2
    assert set(fakes.events[1].new_movie_ids).isdisjoint(first.movie_ids)


async def test_who_was_never_told_knows_the_list_of_before(fakes: Fakes) -> None:
    fakes.likes("ada", "m100")  # long ago, before there were lists
    watermark = fakes.likes("ada", "m102")
    await fakes.service.after_interactions("ada", watermark, ["m102"])
    assert fakes.events == []
    assert set(fakes.told["ada"].movie_ids) == near(100)
    assert fakes.told["ada"].watermark == 2


async def test_a_burst_is_compared_with_what_was_before_all_of_it(fakes: Fakes) -> None:
    fakes.likes("ada", "m100")
    burst = [["m102"], ["m120"], ["m122"]]
    watermarks = [fakes.likes("ada", *movies) for movies in burst]
    for watermark, movies in zip(watermarks, burst, strict=True):
        await fakes.service.after_interactions("ada", watermark, movies)
    (event,) = fakes.events  # one computation, of everything
    assert event.watermark == 4
    assert set(event.new_movie_ids).isdisjoint(near(100))


async def test_a_movie_seen_before_is_not_taken_out_of_what_was_before(fakes: Fakes) -> None:
    fakes.likes("ada", "m100")
    watermark = fakes.likes("ada", "m100")  # rated now, say
    await fakes.service.after_interactions("ada", watermark, ["m100"])
    assert fakes.events == []
    assert set(fakes.told["ada"].movie_ids) == near(100)


async def test_nothing_is_told_without_a_model_or_a_taste(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")
    fakes.model = fakes.promoted = None
    await fakes.service.after_interactions("ada", watermark, ["m100"])
    fakes.model, fakes.promoted = circle("v1"), "v1"
    dislike = HistoryEntry("m100", InteractionType.DISLIKE, 0.0, NOON)
    fakes.people["bob"] = UserState("bob", 1, (dislike,))
    await fakes.service.after_interactions("bob", 1, ["m100"])
    await fakes.service.after_interactions("gone", 7, ["m100"])
    assert (fakes.events, fakes.told) == ([], {})


async def test_a_newer_list_written_meanwhile_is_not_undone(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")

    def meanwhile() -> None:
        fakes.likes("ada", "m300")
        fakes.told["ada"] = ToldList(1, ("m001",), 2, "v1")

    fakes.before_transaction = [meanwhile]
    await fakes.service.after_interactions("ada", watermark, ["m100"])
    # It was made from the same as the second try: there was nothing left to do.
    assert (fakes.events, fakes.told["ada"]) == ([], ToldList(1, ("m001",), 2, "v1"))


async def test_a_newer_list_of_another_model_is_made_again(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")

    def meanwhile() -> None:
        fakes.likes("ada", "m300")
        fakes.told["ada"] = ToldList(1, ("m001",), 2, "v0")

    fakes.before_transaction = [meanwhile]
    await fakes.service.after_interactions("ada", watermark, ["m100"])
    (event,) = fakes.events
    assert (event.watermark, event.model_version) == (2, "v1")
    assert fakes.told["ada"].version == 2


async def test_a_list_ahead_of_all_that_is_recorded_stays(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")
    ahead = ToldList(9, ("m001",), 50, "v0")
    fakes.told["ada"] = ahead
    await fakes.service.after_interactions("ada", watermark, ["m100"])
    assert (fakes.events, fakes.told["ada"]) == ([], ahead)


async def test_a_list_created_meanwhile_is_looked_at(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")

    def meanwhile() -> None:
        fakes.told["ada"] = ToldList(1, tuple(sorted(near(100))), 1, "v1")
        raise CreatedMeanwhile

    fakes.before_transaction = [meanwhile]
    await fakes.service.after_interactions("ada", watermark, ["m100"])
    assert (fakes.events, fakes.writes) == ([], 0)


async def test_a_promotion_tells_those_whose_list_changes(fakes: Fakes) -> None:
    for user_id, movie in (("ada", "m100"), ("bob", "m200")):
        await fakes.service.after_interactions(user_id, fakes.likes(user_id, movie), [movie])
    fakes.likes("cid", "m300")  # has no list yet
    fakes.people["eve"] = UserState("eve", 3, ())  # was deleted
    fakes.told["eve"] = ToldList(2, (), 3, "")
    del fakes.events[:]
    fakes.model, fakes.promoted = circle("v2", shift=30), "v2"
    await fakes.service.after_promotion("v2", NOON)
    assert {event.user_id for event in fakes.events} == {"ada", "bob"}
    assert {event.model_version for event in fakes.events} == {"v2"}
    assert {user: told.model_version for user, told in fakes.told.items()} == {
        "ada": "v2",
        "bob": "v2",
        "cid": "v2",
        "eve": "",
    }
    await fakes.service.after_promotion("v2", NOON)
    assert len(fakes.events) == 2


async def test_who_acted_since_the_promotion_is_told_by_their_own_event(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")
    fakes.people["ada"] = replace(fakes.people["ada"], record_time=NOON + timedelta(seconds=1))
    fakes.likes("bob", "m200")
    fakes.people["bob"] = replace(fakes.people["bob"], record_time=NOON - timedelta(minutes=1))
    await fakes.service.after_promotion("v1", NOON)
    assert list(fakes.told) == ["bob"]
    await fakes.service.after_interactions("ada", watermark, ["m100"])
    assert [event.user_id for event in fakes.events] == ["ada"]


async def test_interactions_wait_for_the_first_model_to_be_loaded(fakes: Fakes) -> None:
    watermark = fakes.likes("ada", "m100")
    fakes.model = None
    with pytest.raises(Unavailable, match="not loaded"):
        await fakes.service.after_interactions("ada", watermark, ["m100"])


async def test_a_promotion_waits_for_its_model_and_gives_way_to_a_later_one(fakes: Fakes) -> None:
    fakes.likes("ada", "m100")
    fakes.promoted = "v2"
    with pytest.raises(Unavailable, match="not loaded"):
        await fakes.service.after_promotion("v2", NOON)
    await fakes.service.after_promotion("v1", NOON)
    assert fakes.told == {}


async def test_a_service_that_ends_leaves_the_rest_to_another(fakes: Fakes) -> None:
    for number in range(3):
        fakes.likes(f"u{number}", "m100")
    fakes.ends = True
    with pytest.raises(Unavailable, match="another replica"):
        await fakes.service.after_promotion("v1", NOON)
    fakes.ends = False
    await fakes.service.after_promotion("v1", NOON)
    assert len(fakes.told) == 3
