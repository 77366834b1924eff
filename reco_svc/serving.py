"""What this replica serves: the index of the promoted model, and the popularity of movies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import datetime

import structlog
from pymongo.errors import PyMongoError

from mesh.times import now
from reco_svc.domain import Interaction
from reco_svc.index.movie_index import MovieIndex
from reco_svc.index.serving_model import ServingModel
from reco_svc.ranking.model import collect_factors
from reco_svc.ranking.popularity import Popularity
from reco_svc.service.models import IndexStatus
from reco_svc.store.interactions import InteractionStore
from reco_svc.store.models import ORIGIN_CONTENT, Embedding, EmbeddingStore, ModelStore

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 2.0


class ServingIndex:
    """Follows the promoted model and its embeddings in MongoDB."""

    def __init__(self, models: ModelStore, embeddings: EmbeddingStore) -> None:
        self._models = models
        self._embeddings = embeddings
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

        Embeddings are only ever added to a model, so their number tells whether there are more.
        """
        version = await self._models.serving_version()
        if version is None:
            return
        count = await self._embeddings.count(version)
        current = self.current
        if current is not None and (current.version, current.embedding_count) == (version, count):
            return
        loaded = [embedding async for embedding in self._embeddings.all(version)]
        if not loaded:
            _log.error("the promoted model has no embeddings", model_version=version)
            return
        model = await asyncio.to_thread(_build, version, loaded)
        self.current = model
        _log.info(
            "index serves",
            model_version=version,
            index_version=model.index.index_version,
            movies=len(model.index),
            kind=model.index.kind,
        )


def _build(version: str, loaded: list[Embedding]) -> ServingModel:
    collected = collect_factors(
        ((e.movie_id, e.in_vector, e.out_vector) for e in loaded), len(loaded[0].out_vector)
    )
    for rejected in collected.rejected:
        _log.error("embedding refused", movie_id=rejected.movie_id, reason=rejected.reason)
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
        self._meanwhile: dict[str, Interaction] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to count in the background."""
        self._task = asyncio.create_task(self._count(), name="popularity")

    async def stop(self) -> None:
        """Stops counting."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def add(self, accepted: Iterable[Interaction]) -> None:
        """Counts interactions that were just recorded; their occur_time must be set."""
        rows = list(accepted)
        self._popularity.add(_watched(rows))
        if self._task is not None and not self._task.done():
            self._meanwhile.update((row.event_id, row) for row in rows)

    def top(self, limit: int, *, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """Returns the most watched movies; see `Popularity.top`."""
        return self._popularity.top(limit, without=without)

    def score(self, movie_id: str) -> float:
        """Returns the score of one movie; see `Popularity.score`."""
        return self._popularity.score(movie_id)

    async def _count(self) -> None:
        while True:
            try:
                counted = Popularity(self._half_life_days)
                async for row in self._interactions.everything():
                    counted.add(_watched([row]))
                    self._meanwhile.pop(row.event_id, None)
            except PyMongoError as error:
                _log.warning("popularity waits for MongoDB", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            counted.add(_watched(self._meanwhile.values()))
            self._meanwhile = {}
            self._popularity = counted
            return


def _watched(rows: Iterable[Interaction]) -> list[tuple[str, datetime]]:
    return [(row.movie_id, row.occur_time) for row in rows if row.occur_time is not None]
