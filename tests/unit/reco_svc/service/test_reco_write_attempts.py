"""Use cases that other writers get in the way of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mesh.errors import Aborted, Unavailable
from mesh.times import now
from reco_svc.domain import (
    CreatedMeanwhile,
    Interaction,
    InteractionKey,
    InteractionType,
    Model,
    PeopleDeletedError,
    RecordedBatch,
    RowResult,
    RowStatus,
)
from reco_svc.service.attempts import ATTEMPTS, write_again_if_raced
from reco_svc.service.interactions import InteractionService
from reco_svc.service.models import ModelService


class Transactions:
    """Runs callbacks; the first ones fail as told, after they have run."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.runs = 0
        self.events: list[Any] = []

    async def transaction(self, callback: Callable[[Any], Awaitable[Any]]) -> Any:
        self.runs += 1
        begin = len(self.events)
        result = await callback(None)
        if self.failures:
            del self.events[begin:]
            raise self.failures.pop(0)
        return result

    async def append(self, session: Any, events: Sequence[Any]) -> None:
        self.events += [event.message for event in events]


async def test_a_write_is_tried_again_until_it_is_not_raced() -> None:
    transactions = Transactions(*[CreatedMeanwhile()] * (ATTEMPTS - 1))

    async def write(session: Any) -> str:
        return "done"

    assert await write_again_if_raced(transactions, write) == "done"
    assert transactions.runs == ATTEMPTS


async def test_who_always_loses_is_told_to_try_again() -> None:
    async def write(session: Any) -> None:
        raise CreatedMeanwhile

    with pytest.raises(Aborted) as refused:
        await write_again_if_raced(Transactions(), write)
    assert refused.value.reason == "WRITE_CONFLICT"


class Store:
    """Interactions in memory."""

    def __init__(self, deleted: Sequence[str] = ()) -> None:
        self.known: dict[InteractionKey, Interaction] = {}
        self.deleted = set(deleted)
        self.looks = 0

    async def recorded(
        self, keys: Sequence[InteractionKey], session: Any
    ) -> dict[InteractionKey, Interaction]:
        self.looks += 1
        return {each: self.known[each] for each in keys if each in self.known}

    async def advance_states(self, accepted: Any, record_time: Any, session: Any) -> dict[str, int]:
        if gone := self.deleted & set(accepted):
            raise PeopleDeletedError(gone)
        return dict.fromkeys(accepted, 1)

    async def insert(self, batches: Sequence[RecordedBatch], session: Any) -> None:
        rows = [row for batch in batches for row in batch.rows]
        if any(row.key in self.known for row in rows):
            raise CreatedMeanwhile
        self.known.update((row.key, row) for row in rows)


class Surroundings:
    """A catalogue of two movies, and what was counted."""

    def __init__(self) -> None:
        self.counted: list[str] = []

    async def unknown(self, movie_ids: Sequence[str]) -> set[str]:
        return set(movie_ids) - {"a", "b"}

    def add(self, accepted: Sequence[Interaction]) -> None:
        self.counted += [row.event_id for row in accepted]


def row(event_id: str, user_id: str = "ada", movie_id: str = "a") -> Interaction:
    return Interaction(event_id, user_id, movie_id, InteractionType.LIKE, 0.0, None)


def service_on(store: Store, transactions: Any) -> tuple[InteractionService, Surroundings]:
    around: Any = Surroundings()
    ports: Any = store
    return InteractionService(transactions, ports, around, around), around


async def test_duplicates_are_looked_for_only_when_there_are_some() -> None:
    store, transactions = Store(), Transactions()
    service, around = service_on(store, transactions)
    await service.record([row("e1"), row("e2")], {}, 2)
    assert (store.looks, transactions.runs) == (0, 1)
    outcome = await service.record([row("e2"), row("e3")], {}, 2)
    assert [result.status for result in outcome.results] == [
        RowStatus.DUPLICATE,
        RowStatus.ACCEPTED,
    ]
    assert (store.looks, transactions.runs) == (1, 3)
    assert around.counted == ["e1", "e2", "e3"]
    assert [len(event.interactions) for event in transactions.events] == [2, 1]


async def test_event_ids_of_different_people_have_nothing_to_do_with_each_other() -> None:
    store, transactions = Store(), Transactions()
    service, around = service_on(store, transactions)
    outcome = await service.record([row("e"), row("e", "bob", "b"), row("e", movie_id="b")], {}, 3)
    assert [result.status for result in outcome.results] == [
        RowStatus.ACCEPTED,
        RowStatus.ACCEPTED,
        RowStatus.CONFLICT,
    ]
    assert outcome.watermarks == {"ada": 1, "bob": 1}
    assert around.counted == ["e", "e"]


async def test_people_who_were_deleted_are_refused_and_the_others_recorded() -> None:
    store, transactions = Store(deleted=["bob", "cid"]), Transactions()
    service, around = service_on(store, transactions)
    rows = [row("e1"), row("e2", "bob"), row("e3", "cid"), row("e4", "dan")]
    outcome = await service.record(rows, {}, 4)
    assert [result.status for result in outcome.results] == [
        RowStatus.ACCEPTED,
        RowStatus.INVALID,
        RowStatus.INVALID,
        RowStatus.ACCEPTED,
    ]
    assert outcome.results[1].message.startswith("user_id: ")
    assert outcome.watermarks == {"ada": 1, "dan": 1}
    assert around.counted == ["e1", "e4"]
    assert transactions.runs == 2


async def test_results_of_refused_rows_stand_in_their_places() -> None:
    service, _ = service_on(Store(), Transactions())
    bad = RowResult("?", RowStatus.INVALID, "event_id: must not be empty")
    outcome = await service.record([row("e1"), row("e2", movie_id="c")], {0: bad, 2: bad}, 4)
    assert [result.event_id for result in outcome.results] == ["?", "e1", "?", "e2"]
    assert outcome.results[3].status is RowStatus.UNKNOWN_MOVIE


async def test_a_batch_without_a_sound_row_needs_no_transaction() -> None:
    transactions = Transactions()
    service, _ = service_on(Store(), transactions)
    bad = RowResult("?", RowStatus.INVALID, "event_id: must not be empty")
    outcome = await service.record([], {0: bad}, 1)
    assert (outcome.results, outcome.watermarks, transactions.runs) == ((bad,), {}, 0)


class Models:
    """Models in memory, one in training at a time."""

    def __init__(self) -> None:
        self.stored: dict[str, Model] = {}
        self.failures: dict[str, str] = {}

    async def fail_silent(self, alive_seconds: float) -> None:
        assert alive_seconds > 0

    async def create(self, model: Model) -> None:
        if await self.training() is not None:
            raise CreatedMeanwhile
        self.stored[model.version] = model

    async def training(self) -> str | None:
        return next((v for v in self.stored if v not in self.failures), None)

    async def fail(self, version: str, failure: str) -> bool:
        self.failures[version] = failure
        return True

    async def train(self, model: Model, *, seed: int, holdout_fraction: float) -> None:
        raise OSError("no memory left")


async def test_a_training_that_cannot_start_has_failed_at_once() -> None:
    models: Any = Models()

    async def yes() -> bool:
        return True

    service = ModelService(
        Transactions(),
        models,
        models,
        has_interactions=yes,
        index_status=lambda: None,
        promoted=lambda: None,
    )
    for _ in range(2):  # and it does not keep the next one from beginning
        with pytest.raises(Unavailable):
            await service.train(0, 0.25)
    assert ["no memory left" in failure for failure in models.failures.values()] == [True, True]


def test_a_row_sent_again_without_its_time_does_not_conflict() -> None:
    recorded = replace(row("e1"), occur_time=now())
    assert not row("e1").conflicts_with(recorded)
    assert not recorded.conflicts_with(recorded)
    for other in (
        replace(recorded, movie_id="b"),
        replace(recorded, type=InteractionType.VIEW),
        replace(recorded, value=1.0),
        replace(recorded, occur_time=recorded.occur_time.replace(year=1999)),  # type: ignore[union-attr]
    ):
        assert other.conflicts_with(recorded)
