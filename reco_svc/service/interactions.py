"""Use cases of interactions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from mesh.errors import Aborted
from mesh.mongo.client import Session
from mesh.times import now
from reco_svc.domain import Interaction, RecordedMeanwhile, RecordOutcome, RowResult, RowStatus
from reco_svc.events import interactions_recorded
from reco_svc.ports import CatalogCopy, Interactions, PopularityCounts, Transactions

_ATTEMPTS = 5


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
        unknown = await self._catalog.unknown([row.movie_id for row in rows])
        for attempt in range(_ATTEMPTS):
            # Most batches are new: write first, and look for duplicates only when there are some.
            try:
                results, watermarks = await self._outbox.transaction(
                    partial(self._write, rows, unknown, look=attempt > 0)
                )
            except RecordedMeanwhile:
                continue
            self._popularity.add(
                replace(row, occur_time=row.occur_time or now())
                for row, result in zip(rows, results, strict=True)
                if result.status is RowStatus.ACCEPTED
            )
            rest = iter(results)
            return RecordOutcome(
                tuple(refused[place] if place in refused else next(rest) for place in range(total)),
                watermarks,
            )
        raise Aborted("WRITE_CONFLICT", "the same event ids are being recorded elsewhere")

    async def _write(
        self,
        rows: Sequence[Interaction],
        unknown: set[str],
        session: Session,
        *,
        look: bool,
    ) -> tuple[list[RowResult], dict[str, int]]:
        recorded: dict[str, Interaction] = {}
        if look:
            recorded = await self._store.recorded([row.event_id for row in rows], session)
        moment = now()
        results: list[RowResult] = []
        accepted: dict[str, list[Interaction]] = defaultdict(list)
        for row in rows:
            result = _judge(row, recorded, unknown)
            results.append(result)
            if result.status is RowStatus.ACCEPTED:
                stamped = replace(row, occur_time=row.occur_time or moment)
                recorded[row.event_id] = stamped
                accepted[row.user_id].append(stamped)
        if not accepted:
            return results, {}
        watermarks: dict[str, int] = {}
        for user_id, batch in sorted(accepted.items()):
            watermarks[user_id] = await self._store.advance_state(user_id, batch, session)
            await self._store.insert(user_id, watermarks[user_id], batch, moment, session)
        await self._outbox.append(
            session,
            [
                interactions_recorded(user_id, batch, watermarks[user_id])
                for user_id, batch in accepted.items()
            ],
        )
        return results, watermarks

    async def page(
        self, user_id: str, before: tuple[int, int] | None, size: int
    ) -> list[tuple[tuple[int, int], Interaction]]:
        """Returns up to `size` interactions of a user with their positions, latest first."""
        return await self._store.page(user_id, before, size)


def _judge(row: Interaction, recorded: Mapping[str, Interaction], unknown: set[str]) -> RowResult:
    earlier = recorded.get(row.event_id)
    if earlier is not None:
        if row.conflicts_with(earlier):
            return RowResult(
                row.event_id,
                RowStatus.CONFLICT,
                "event_id: was recorded earlier with other content",
            )
        return RowResult(row.event_id, RowStatus.DUPLICATE)
    if row.movie_id in unknown:
        return RowResult(
            row.event_id, RowStatus.UNKNOWN_MOVIE, f"movie_id: no movie {row.movie_id!r}"
        )
    return RowResult(row.event_id, RowStatus.ACCEPTED)
