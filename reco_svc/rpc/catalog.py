"""CatalogService."""

from __future__ import annotations

from typing import Any

from marquee.reco.v1 import catalog_service_pb2 as pb
from marquee.reco.v1 import catalog_service_pb2_grpc, movie_pb2

from mesh.pages import decode_page_token, encode_page_token
from mesh.times import now
from mesh.validation import Violations
from reco_svc.convert import movie_to_proto
from reco_svc.domain import MAX_BATCH, Movie
from reco_svc.service.catalog import CatalogService

_LISTING = "movies"


class CatalogServicer(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Serves `marquee.reco.v1.CatalogService`."""

    def __init__(self, catalog: CatalogService) -> None:
        self._catalog = catalog

    async def UpsertMovies(
        self, request: pb.UpsertMoviesRequest, context: Any
    ) -> pb.UpsertMoviesResponse:
        """Creates or replaces movies."""
        check = Violations()
        check.count("movies", len(request.movies), minimum=1, maximum=MAX_BATCH)
        seen: set[str] = set()
        moment = now()
        movies = []
        for place, message in enumerate(request.movies[:MAX_BATCH]):
            field = f"movies[{place}]"
            _check_movie(check, field, message)
            if message.id in seen:
                check.add(f"{field}.id", f"{message.id!r} is there twice")
            seen.add(message.id)
            movies.append(
                Movie(
                    id=message.id,
                    title=message.title,
                    genres=tuple(message.genres),
                    year=message.year,
                    languages=tuple(message.languages),
                    create_time=moment,
                    update_time=moment,
                )
            )
        check.raise_if_any()
        counts = await self._catalog.upsert(movies)
        return pb.UpsertMoviesResponse(
            created_count=counts.created,
            updated_count=counts.updated,
            unchanged_count=counts.unchanged,
        )

    async def GetMovie(self, request: pb.GetMovieRequest, context: Any) -> pb.GetMovieResponse:
        """Returns one movie."""
        check = Violations()
        check.id("movie_id", request.movie_id)
        check.raise_if_any()
        return pb.GetMovieResponse(movie=movie_to_proto(await self._catalog.get(request.movie_id)))

    async def BatchGetMovies(
        self, request: pb.BatchGetMoviesRequest, context: Any
    ) -> pb.BatchGetMoviesResponse:
        """Returns several movies."""
        check = Violations()
        check.count("movie_ids", len(request.movie_ids), minimum=1, maximum=MAX_BATCH)
        for place, movie_id in enumerate(request.movie_ids[:MAX_BATCH]):
            check.id(f"movie_ids[{place}]", movie_id)
        check.raise_if_any()
        found, missing = await self._catalog.batch_get(list(dict.fromkeys(request.movie_ids)))
        return pb.BatchGetMoviesResponse(
            movies=[movie_to_proto(movie) for movie in found], missing_movie_ids=missing
        )

    async def ListMovies(
        self, request: pb.ListMoviesRequest, context: Any
    ) -> pb.ListMoviesResponse:
        """Lists movies by id."""
        check = Violations()
        size = check.limit("page_size", request.page_size, default=100, maximum=1000)
        check.raise_if_any()
        after = ""
        if request.page_token:
            (position,) = decode_page_token(_LISTING, request.page_token, shape=[str])
            after = str(position)
        movies = await self._catalog.page(after, size + 1)
        token = encode_page_token(_LISTING, [movies[size - 1].id]) if len(movies) > size else ""
        return pb.ListMoviesResponse(
            movies=[movie_to_proto(movie) for movie in movies[:size]], next_page_token=token
        )


def _check_movie(check: Violations, field: str, message: movie_pb2.Movie) -> None:
    check.id(f"{field}.id", message.id)
    check.text(f"{field}.title", message.title, minimum=1, maximum=500)
    check.count(f"{field}.genres", len(message.genres), maximum=32)
    for place, genre in enumerate(message.genres[:32]):
        check.text(f"{field}.genres[{place}]", genre, minimum=1, maximum=64)
    check.count(f"{field}.languages", len(message.languages), maximum=64)
    for place, language in enumerate(message.languages[:64]):
        check.language(f"{field}.languages[{place}]", language)
    if message.year and not 1870 <= message.year <= 2200:
        check.add(f"{field}.year", f"must be 1870 to 2200, or 0 if unknown: {message.year}")
