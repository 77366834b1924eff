"""RecommendationService."""

from __future__ import annotations

from typing import Any

from marquee.reco.v1 import recommendation_service_pb2 as pb
from marquee.reco.v1 import recommendation_service_pb2_grpc

from mesh.validation import Violations
from reco_svc.convert import known_or_bare, scored_to_proto
from reco_svc.ports import CatalogCopy
from reco_svc.service.recommend import RecommendService

_MAX_SESSION = 1000
_MAX_LIMIT = 500
# An explanation has an entry for every watched movie, so those of 500 movies would not fit into a
# message.
_MAX_EXPLAINED = 100


class RecommendationServicer(recommendation_service_pb2_grpc.RecommendationServiceServicer):
    """Serves `marquee.reco.v1.RecommendationService`."""

    def __init__(self, recommend: RecommendService, catalog: CatalogCopy) -> None:
        self._recommend = recommend
        self._catalog = catalog

    async def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        """Recommends movies to a user or a session."""
        check = Violations()
        limit = check.limit("limit", request.limit, default=20, maximum=_MAX_LIMIT)
        if request.explain and _MAX_EXPLAINED < limit <= _MAX_LIMIT:
            check.add("limit", f"must be at most {_MAX_EXPLAINED} with explain: {limit}")
        subject = request.WhichOneof("subject")
        if subject is None:
            check.add("subject", "user_id or session must be set")
        elif subject == "user_id":
            check.id("user_id", request.user_id)
        else:
            movie_ids = request.session.movie_ids
            check.count("session.movie_ids", len(movie_ids), maximum=_MAX_SESSION)
            for place, movie_id in enumerate(movie_ids[:_MAX_SESSION]):
                check.id(f"session.movie_ids[{place}]", movie_id)
        check.raise_if_any()
        if subject == "user_id":
            answer = await self._recommend.for_user(request.user_id, limit, explain=request.explain)
        else:
            answer = await self._recommend.for_session(
                list(request.session.movie_ids), limit, explain=request.explain
            )
        movies = self._catalog.movies
        return pb.RecommendResponse(
            recommendations=[scored_to_proto(scored, movies) for scored in answer.movies],
            watermark=answer.watermark,
            model_version=answer.model_version,
            index_version=answer.index_version,
            missing_movie_ids=answer.missing_movie_ids,
        )

    async def SimilarMovies(
        self, request: pb.SimilarMoviesRequest, context: Any
    ) -> pb.SimilarMoviesResponse:
        """Finds the neighbours of a movie."""
        check = Violations()
        check.id("movie_id", request.movie_id)
        limit = check.limit("limit", request.limit, default=20, maximum=_MAX_LIMIT)
        check.raise_if_any()
        neighbours = await self._recommend.similar(request.movie_id, limit)
        movies = self._catalog.movies
        return pb.SimilarMoviesResponse(
            movies=[
                pb.SimilarMovie(movie=known_or_bare(movie_id, movies), similarity=similarity)
                for movie_id, similarity in neighbours.movies
            ],
            model_version=neighbours.model_version,
            index_version=neighbours.index_version,
        )

    async def Trending(self, request: pb.TrendingRequest, context: Any) -> pb.TrendingResponse:
        """Lists what is watched most."""
        check = Violations()
        limit = check.limit("limit", request.limit, default=20, maximum=_MAX_LIMIT)
        check.raise_if_any()
        movies = self._catalog.movies
        return pb.TrendingResponse(
            movies=[
                pb.TrendingMovie(movie=known_or_bare(movie_id, movies), score=score)
                for movie_id, score in self._recommend.trending(limit)
            ]
        )
