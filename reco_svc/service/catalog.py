"""Use cases of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mesh.errors import NotFound
from mesh.mongo.client import Session
from mesh.times import now
from reco_svc.domain import Movie
from reco_svc.events import movie_changed
from reco_svc.ports import CatalogCopy, Movies, Transactions
from reco_svc.service.attempts import write_again_if_raced

_TICK = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class UpsertCounts:
    """How many movies were new, different, and stored already."""

    created: int
    updated: int
    unchanged: int


class CatalogService:
    """Stores and finds movies."""

    def __init__(self, outbox: Transactions, store: Movies, catalog: CatalogCopy) -> None:
        self._outbox = outbox
        self._store = store
        self._catalog = catalog

    async def upsert(self, movies: Sequence[Movie]) -> UpsertCounts:
        """Creates or replaces movies; each change is told to the mesh.

        Args:
            movies: What to store, no id twice; their times do not matter.

        Raises:
            Aborted: Other writers created the same movies again and again meanwhile.
        """

        async def write(session: Session) -> tuple[list[Movie], list[Movie]]:
            known = await self._store.get([movie.id for movie in movies], session)
            moment = now()
            created = [
                replace(movie, create_time=moment, update_time=moment)
                for movie in movies
                if movie.id not in known
            ]
            replaced = [
                _after(known[movie.id], movie, moment)
                for movie in movies
                if movie.id in known and not movie.same_content(known[movie.id])
            ]
            await self._store.put(created, replaced, session)
            await self._outbox.append(
                session, [movie_changed(movie) for movie in (*created, *replaced)]
            )
            return created, replaced

        created, replaced = await write_again_if_raced(self._outbox, write)
        self._catalog.add([*created, *replaced])
        return UpsertCounts(len(created), len(replaced), len(movies) - len(created) - len(replaced))

    async def get(self, movie_id: str) -> Movie:
        """Returns one movie.

        Raises:
            NotFound: There is none of that id.
        """
        found = await self._store.get([movie_id])
        if movie_id not in found:
            raise NotFound("movie", movie_id)
        return found[movie_id]

    async def batch_get(self, movie_ids: Sequence[str]) -> tuple[list[Movie], list[str]]:
        """Returns the movies found, in the order asked, and the ids that are unknown."""
        found = await self._store.get(movie_ids)
        return (
            [found[movie_id] for movie_id in movie_ids if movie_id in found],
            [movie_id for movie_id in movie_ids if movie_id not in found],
        )

    async def page(self, after: str, size: int) -> list[Movie]:
        """Returns up to `size` movies with an id greater than `after`."""
        return await self._store.page(after, size)


def _after(known: Movie, movie: Movie, moment: datetime) -> Movie:
    """Returns what replaces a known movie.

    Its update_time is later than that of the known one, whichever replica's clock wrote that: by
    the order of these times everybody else tells which is the latest.
    """
    return replace(
        movie,
        create_time=known.create_time,
        update_time=max(moment, known.update_time + _TICK),
    )
