"""Use cases of interactions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mesh.mongo.client import Session
from mesh.times import now
from reco_svc.domain import (
    CreatedMeanwhile,
    Interaction,
    InteractionKey,
    PeopleDeletedError,
    RecordedBatch,
    RecordOutcome,
    RowResult,
    RowStatus,
)
from reco_svc.events import interactions_recorded
from reco_svc.ports import CatalogCopy, Interactions, PopularityCounts, Transactions
from reco_svc.service.attempts import ATTEMPTS, lost_again_and_again


@dataclass(frozen=True, slots=True)
class _Written:
    results: Sequence[RowResult]
    batches: Sequence[RecordedBatch]


class InteractionService:
    """Records what people do with movies."""

    def __init__(
        self,
        outbox: Transactions,
        store: Interactions,
        catalog: CatalogCopy,
        popularity: PopularityCounts,
    ) -> None:
        self._popularity = popularity
        self._outbox = outbox
        self._store = store
        self._catalog = catalog

    async def record(
        self, rows: Sequence[Interaction], refused: Mapping[int, RowResult], total: int
    ) -> RecordOutcome:
        """Records a batch; every row gets a result.

        Args:
            rows: The well-formed rows, in the order of the batch.
            refused: Results of the other rows, by their place in the batch.
            total: The size of the batch.

        Raises:
            Aborted: Other writers recorded the same ids again and again meanwhile.
        """
        written = await self._write_all(rows) if rows else _Written((), ())
        for batch in written.batches:
            self._popularity.add(batch.rows)
        rest = iter(written.results)
        return RecordOutcome(
            tuple(refused[place] if place in refused else next(rest) for place in range(total)),
            {batch.user_id: batch.watermark for batch in written.batches},
        )

    async def _write_all(self, rows: Sequence[Interaction]) -> _Written:
        unknown = await self._catalog.unknown([row.movie_id for row in rows])
        # Most batches are new and of movies there are: write first, and look for duplicates only
        # when there are some, or when a row may be refused that was recorded long ago.
        look = bool(unknown)
        deleted: frozenset[str] = frozenset()
        for _ in range(ATTEMPTS):
            try:
                return await self._outbox.transaction(
                    partial(self._write, rows, unknown, deleted, look=look)
                )
            except CreatedMeanwhile:
                look = True
            except PeopleDeletedError as error:
                deleted |= error.user_ids
        raise lost_again_and_again()

    async def _write(
        self,
        rows: Sequence[Interaction],
        unknown: Collection[str],
        deleted: Collection[str],
        session: Session,
        *,
        look: bool,
    ) -> _Written:
        recorded: dict[InteractionKey, Interaction] = {}
        if look:
            recorded = await self._store.recorded([row.key for row in rows], session)
        moment = now()
        results: list[RowResult] = []
        accepted: dict[str, list[Interaction]] = defaultdict(list)
        for row in rows:
            result = _judge(row, recorded, unknown, deleted)
            results.append(result)
            if result.status is RowStatus.ACCEPTED:
                stamped = replace(row, occur_time=row.occur_time or moment)
                recorded[row.key] = stamped
                accepted[row.user_id].append(stamped)
        if not accepted:
            return _Written(results, ())
        watermarks = await self._store.advance_states(accepted, moment, session)
        batches = [
            RecordedBatch(user_id, watermarks[user_id], tuple(own), moment)
            for user_id, own in accepted.items()
        ]
        await self._store.insert(batches, session)
        await self._outbox.append(session, [interactions_recorded(batch) for batch in batches])
        return _Written(results, batches)

    async def page(
        self, user_id: str, before: tuple[int, int] | None, size: int
    ) -> list[tuple[tuple[int, int], Interaction]]:
        """Returns up to `size` interactions of a user with their positions, latest first."""
        return await self._store.page(user_id, before, size)


def _judge(
    row: Interaction,
    recorded: Mapping[InteractionKey, Interaction],
    unknown: Collection[str],
    deleted: Collection[str],
) -> RowResult:
    earlier = recorded.get(row.key)
    if earlier is not None:
        if row.conflicts_with(earlier):
            return RowResult(
                row.event_id,
                RowStatus.CONFLICT,
                "event_id: was recorded earlier with other content",
            )
        return RowResult(row.event_id, RowStatus.DUPLICATE)
    if row.user_id in deleted:
        return RowResult(row.event_id, RowStatus.INVALID, "user_id: this user was deleted")
    if row.movie_id in unknown:
        return RowResult(
            row.event_id, RowStatus.UNKNOWN_MOVIE, f"movie_id: no movie {row.movie_id!r}"
        )
    return RowResult(row.event_id, RowStatus.ACCEPTED)
