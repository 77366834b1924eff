"""The catalogue in MongoDB, and the copy of it that every replica keeps in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pymongo import ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Document, Session
from mesh.mongo.lookup import find_by_ids
from mesh.times import now
from reco_svc.domain import Movie
from reco_svc.store.races import creating
from reco_svc.store.schema import MOVIES

# A movie may become visible some time after the update_time it carries: as long as a transaction
# may take, and the clocks of the replicas may differ.
_OVERLAP = timedelta(seconds=90)


class MovieStore:
    """Reads and writes movies."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._movies = database[MOVIES]

    async def get(
        self, movie_ids: Sequence[str], session: Session | None = None
    ) -> dict[str, Movie]:
        """Returns the movies found, by id."""
        documents = find_by_ids(self._movies, list(dict.fromkeys(movie_ids)), session=session)
        return {document["_id"]: _to_movie(document) async for document in documents}

    async def put(
        self, created: Sequence[Movie], replaced: Sequence[Movie], session: Session
    ) -> None:
        """Writes movies inside a transaction.

        Raises:
            CreatedMeanwhile: One of `created` is there already; the transaction is lost.
        """
        if created:
            with creating():
                await self._movies.insert_many([_to_document(m) for m in created], session=session)
        if replaced:
            await self._movies.bulk_write(
                [ReplaceOne({"_id": movie.id}, _to_document(movie)) for movie in replaced],
                session=session,
            )

    async def page(self, after: str, size: int) -> list[Movie]:
        """Returns up to `size` movies with an id greater than `after`, by id."""
        cursor = self._movies.find({"_id": {"$gt": after}}).sort("_id", 1).limit(size)
        return [_to_movie(document) async for document in cursor]

    async def changed_since(self, moment: datetime | None) -> list[Movie]:
        """Returns the movies whose update_time is `moment` or later; all of them for None."""
        query = {} if moment is None else {"update_time": {"$gte": moment}}
        return [_to_movie(document) async for document in self._movies.find(query)]


class Catalog:
    """The movies in memory, following MongoDB."""

    def __init__(self, store: MovieStore) -> None:
        self._store = store
        self._movies: dict[str, Movie] = {}
        self._read_since: datetime | None = None

    @property
    def movies(self) -> Mapping[str, Movie]:
        """The movies by id; do not change it."""
        return self._movies

    async def refresh(self) -> None:
        """Takes over what has changed in MongoDB."""
        begin = now()
        self.add(await self._store.changed_since(self._read_since))
        self._read_since = begin - _OVERLAP

    def add(self, movies: Sequence[Movie]) -> None:
        """Takes over movies that were just written or read; of one movie the latest stays."""
        for movie in movies:
            known = self._movies.get(movie.id)
            if known is None or known.update_time <= movie.update_time:
                self._movies[movie.id] = movie

    async def unknown(self, movie_ids: Sequence[str]) -> set[str]:
        """Returns the ids that neither the copy nor MongoDB knows."""
        missing = [movie_id for movie_id in set(movie_ids) if movie_id not in self._movies]
        if missing:
            self.add(list((await self._store.get(missing)).values()))
        return {movie_id for movie_id in missing if movie_id not in self._movies}


def _to_document(movie: Movie) -> Document:
    return {
        "_id": movie.id,
        "title": movie.title,
        "genres": list(movie.genres),
        "year": movie.year,
        "languages": list(movie.languages),
        "create_time": movie.create_time,
        "update_time": movie.update_time,
    }


def _to_movie(document: Document) -> Movie:
    return Movie(
        id=document["_id"],
        title=document["title"],
        genres=tuple(document["genres"]),
        year=document["year"],
        languages=tuple(document["languages"]),
        create_time=document["create_time"],
        update_time=document["update_time"],
    )
