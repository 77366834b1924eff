"""Popularity counts each interaction once, however counting and recording interleave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mesh.times import now
from reco_svc.domain import Interaction, InteractionType, RecordedBatch
from reco_svc.serving import ServingPopularity


def batch(watermark: int, *movie_ids: str, user_id: str = "ada") -> RecordedBatch:
    moment = now()
    rows = tuple(
        Interaction(f"{watermark}-{n}", user_id, movie, InteractionType.LIKE, 0.0, moment)
        for n, movie in enumerate(movie_ids)
    )
    return RecordedBatch(user_id, watermark, rows, moment)


class Store:
    """What is recorded; a reader gets each batch when the test lets it."""

    def __init__(self, *batches: RecordedBatch) -> None:
        self.stored = list(batches)
        self.steps: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def batches(self) -> AsyncIterator[RecordedBatch]:
        for each in self.stored:
            await self.step()
            yield each
        await self.step()

    async def step(self) -> None:
        failure = await self.steps.get()
        if failure is not None:
            raise failure

    async def let(self, count: int) -> None:
        for _ in range(count):
            self.steps.put_nowait(None)
        for _ in range(10):
            await asyncio.sleep(0)


def counts(popularity: ServingPopularity) -> dict[str, int]:
    return {movie: round(score) for movie, score in popularity.top(10)}


def popularity_of(store: Any) -> ServingPopularity:
    return ServingPopularity(store, 30.0)


async def test_everything_recorded_is_counted_in_the_end() -> None:
    store = Store(batch(1, "a", "b"), batch(2, "a"))
    popularity = popularity_of(store)
    await popularity.start()
    assert counts(popularity) == {}
    await store.let(3)
    assert counts(popularity) == {"a": 2, "b": 1}
    popularity.add(batch(3, "b", "b").rows)
    assert counts(popularity) == {"a": 2, "b": 3}
    await popularity.stop()


@pytest.mark.parametrize("told_after", [0, 1, 2, 3])
async def test_what_is_recorded_while_counting_counts_once(told_after: int) -> None:
    """The batch is read second; the call that recorded it says so before, between or after."""
    recorded = batch(2, "new")
    store = Store(batch(1, "old"), recorded)
    popularity = popularity_of(store)
    await popularity.start()
    await store.let(told_after)
    popularity.add(recorded.rows)
    assert counts(popularity)["new"] == 1
    await store.let(3 - told_after)
    assert counts(popularity) == {"old": 1, "new": 1}
    await popularity.stop()


async def test_what_was_recorded_behind_the_reader_counts() -> None:
    store = Store(batch(1, "old"))
    popularity = popularity_of(store)
    await popularity.start()
    await store.let(1)
    popularity.add(batch(2, "new").rows)
    await store.let(1)
    assert counts(popularity) == {"old": 1, "new": 1}
    await popularity.stop()


@pytest.mark.parametrize("told_after", [0, 1, 2])
async def test_two_people_with_the_same_event_ids_count_twice(told_after: int) -> None:
    store = Store(batch(1, "a"))
    popularity = popularity_of(store)
    await popularity.start()
    await store.let(told_after)
    popularity.add(batch(1, "a", user_id="bob").rows)
    await store.let(2 - told_after)
    assert counts(popularity) == {"a": 2}
    await popularity.stop()


async def test_counting_begins_again_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reco_svc.serving._RETRY_SECONDS", 0)
    store = Store(batch(1, "a"), batch(2, "b"))
    popularity = popularity_of(store)
    await popularity.start()
    await store.let(1)
    store.steps.put_nowait(RuntimeError("the database is away"))
    await store.let(3)
    assert counts(popularity) == {"a": 1, "b": 1}
    await popularity.stop()


async def test_it_stops_while_it_counts() -> None:
    popularity = popularity_of(Store(batch(1, "a")))
    await popularity.start()
    async with asyncio.timeout(30):
        await popularity.stop()
    assert counts(popularity) == {}
