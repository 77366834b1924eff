"""What this replica serves: the index of the promoted model, and the popularity of movies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import pymongo
import structlog

from mesh.background import end_background
from mesh.telemetry.spans import untraced_database
from mesh.times import now
from reco_svc.domain import Interaction, InteractionKey, InteractionType
from reco_svc.index.movie_index import MovieIndex
from reco_svc.index.serving_model import ServingModel
from reco_svc.ranking.model import collect_factors
from reco_svc.ranking.popularity import Popularity
from reco_svc.service.models import IndexStatus
from reco_svc.store.interactions import InteractionStore
from reco_svc.store.models import ORIGIN_CONTENT, Embedding, EmbeddingStore, ModelStore

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 2.0
_COUNT_SECONDS = 1800.0
# By how much this machine's clock may be set back while counting goes on.
_CLOCK_MARGIN = timedelta(seconds=10)
_NAMED = 5
_NOT_WATCHED = frozenset({InteractionType.DISLIKE, InteractionType.SKIP})


class ServingIndex:
    """Follows the promoted model and its embeddings in MongoDB."""

    def __init__(self, models: ModelStore, embeddings: EmbeddingStore) -> None:
        self._models = models
        self._embeddings = embeddings
        self._seen: tuple[str, int] | None = None
        self.current: ServingModel | None = None

    @property
    def version(self) -> str:
        """The model served, or empty."""
        return "" if self.current is None else self.current.version

    def status(self) -> IndexStatus | None:
        """Says what is served; None before the first promotion."""
        if self.current is None:
            return None
        index = self.current.index
        return IndexStatus(
            model_version=self.current.version,
            index_version=index.index_version,
            movie_count=len(index),
            dimension=index.factors.dimension,
            kind=index.kind,
            load_time=self.current.load_time,
        )

    async def refresh(self) -> None:
        """Loads the promoted model, or what was added to the one that is served.

        Embeddings are only ever added to a model, so their number tells whether there are more. A
        model without a sound embedding is not taken; the one before it goes on serving.
        """
        version = await self._models.serving_version()
        if version is None:
            return
        # Counting those of one model reads them all, so that is done only after a change.
        seen = (version, await self._embeddings.size())
        if seen == self._seen:
            return
        current = self.current
        count = await self._embeddings.count(version)
        if current is None or (current.version, current.embedding_count) != (version, count):
            loaded = [embedding async for embedding in self._embeddings.all(version)]
            model = await asyncio.to_thread(_build, version, loaded)
            if not len(model.index):
                _log.error("the promoted model has no embeddings", model_version=version)
                return
            self.current = model
            _log.info(
                "index serves",
                model_version=version,
                index_version=model.index.index_version,
                movies=len(model.index),
                kind=model.index.kind,
            )
        self._seen = seen


def _build(version: str, loaded: list[Embedding]) -> ServingModel:
    lengths = Counter(length for e in loaded if (length := len(e.out_vector)))
    # Not that of the first one, which may itself be the damaged one.
    usual = max(lengths, key=lambda length: (lengths[length], length), default=1)
    collected = collect_factors(((e.movie_id, e.in_vector, e.out_vector) for e in loaded), usual)
    if collected.rejected:
        _log.error(
            "embeddings refused",
            model_version=version,
            count=len(collected.rejected),
            first=[f"{r.movie_id}: {r.reason}" for r in collected.rejected[:_NAMED]],
        )
    index = MovieIndex(collected.factors)
    content = {e.movie_id for e in loaded if e.origin == ORIGIN_CONTENT}
    return ServingModel(
        version,
        index,
        frozenset(row for row, movie_id in enumerate(index.movie_ids) if movie_id in content),
        len(loaded),
        now(),
    )


class ServingPopularity:
    """Counts what is recorded: everything once at the start, then what this replica records.

    Counting goes on beside serving; until it is done, answers know only what was counted so far.
    """

    def __init__(self, interactions: InteractionStore, half_life_days: float) -> None:
        self._interactions = interactions
        self._half_life_days = half_life_days
        self._popularity = Popularity(half_life_days)
        self._counting = False
        self._meanwhile: list[Interaction] = []
        self._counted: set[InteractionKey] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to count in the background."""
        self._counting = True
        self._task = asyncio.create_task(self._count(now() - _CLOCK_MARGIN), name="popularity")

    async def stop(self) -> None:
        """Stops counting."""
        self._counting = False
        if self._task is not None:
            await end_background([self._task])

    def add(self, accepted: Sequence[Interaction]) -> None:
        """Counts interactions that this replica just recorded; their occur_time must be set."""
        rows = [row for row in accepted if row.key not in self._counted]
        self._counted.difference_update([row.key for row in accepted])
        self._popularity.add(_watched(rows))
        if self._counting:
            self._meanwhile += rows

    def top(self, limit: int, *, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """Returns the most watched movies; see `Popularity.top`."""
        return self._popularity.top(limit, without=without)

    def score(self, movie_id: str) -> float:
        """Returns the score of one movie; see `Popularity.score`."""
        return self._popularity.score(movie_id)

    async def _count(self, begin: datetime) -> None:
        while self._counting:
            try:
                with untraced_database(), pymongo.timeout(_COUNT_SECONDS):
                    await self._count_once(begin)
            except Exception as error:
                # Whatever it is: answers without popularity are no reason to end.
                _log.warning("popularity cannot be counted yet", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _count_once(self, begin: datetime) -> None:
        counted = Popularity(self._half_life_days)
        recent: set[InteractionKey] = set()
        async for batch in self._interactions.batches():
            counted.add(_watched(batch.rows))
            if batch.record_time >= begin:
                recent.update(row.key for row in batch.rows)
            await asyncio.sleep(0)
        counted.add(_watched(row for row in self._meanwhile if row.key not in recent))
        # What was read before the call that recorded it came to say so.
        self._counted = recent.difference(row.key for row in self._meanwhile)
        self._popularity, self._meanwhile, self._counting = counted, [], False


def _watched(rows: Iterable[Interaction]) -> list[tuple[str, datetime]]:
    return [
        (row.movie_id, row.occur_time)
        for row in rows
        if row.occur_time is not None and row.type not in _NOT_WATCHED
    ]
