"""Use cases of recommendation: what to watch, for a person, a session, or anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mesh.errors import FailedPrecondition, NotFound
from reco_svc.domain import Answer, ScoredMovie, Source, UserProfile, UserState
from reco_svc.index.serving_model import ServingModel
from reco_svc.ports import CatalogCopy, PopularityCounts, Profiles, Serving, States
from reco_svc.ranking.model import INTERACTION_WEIGHTS, contributions, user_vector
from reco_svc.ranking.preference import rank_by_genres


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The movies nearest to one.

    Attributes:
        movies: (movie id, cosine), nearest first.
        model_version: The model whose vectors were compared.
        index_version: The index that was searched.
    """

    movies: tuple[tuple[str, float], ...]
    model_version: str
    index_version: str


class RecommendService:
    """Answers from the serving index, and from genres and popularity where it has no answer."""

    def __init__(
        self,
        serving: Serving,
        states: States,
        profiles: Profiles,
        popularity: PopularityCounts,
        catalog: CatalogCopy,
    ) -> None:
        self._serving = serving
        self._states = states
        self._profiles = profiles
        self._popularity = popularity
        self._catalog = catalog

    async def for_user(self, user_id: str, limit: int, *, explain: bool = False) -> Answer:
        """Recommends to a user.

        Raises:
            FailedPrecondition: The catalogue is empty.
        """
        self._require_catalog()
        state = await self._states.state(user_id)
        answer = self._by_history(weights_of(state), state.watermark, limit, explain=explain)
        if len(answer.movies) == limit:
            return answer
        return self._filled(answer, weights_of(state), limit, await self._profiles.get(user_id))

    async def for_session(
        self, movie_ids: Sequence[str], limit: int, *, explain: bool = False
    ) -> Answer:
        """Recommends to somebody unknown, by the movies of their session.

        Raises:
            FailedPrecondition: The catalogue is empty.
        """
        self._require_catalog()
        unknown = await self._catalog.unknown(movie_ids)
        distinct = dict.fromkeys(movie_ids, 1.0)
        weights = {movie_id: 1.0 for movie_id in distinct if movie_id not in unknown}
        answer = self._by_history(weights, 0, limit, explain=explain)
        missing = tuple(movie_id for movie_id in distinct if movie_id in unknown)
        return replace(self._filled(answer, weights, limit), missing_movie_ids=missing)

    def for_state(self, state: UserState, limit: int, *, explain: bool = False) -> Answer:
        """Recommends by a state that is at hand, and nothing else that is known of its person."""
        weights = weights_of(state)
        answer = self._by_history(weights, state.watermark, limit, explain=explain)
        return self._filled(answer, weights, limit)

    def _by_history(
        self, weights: Mapping[str, float], watermark: int, limit: int, *, explain: bool
    ) -> Answer:
        """Returns what the model says; nothing without a model or a history with any weight."""
        model = self._serving.current
        if model is None:
            return Answer((), watermark, "", "")
        found = _by_model(model, weights, limit, explain=explain)
        return Answer(tuple(found), watermark, model.version, model.index.index_version)

    def _filled(
        self,
        answer: Answer,
        weights: Mapping[str, float],
        limit: int,
        profile: UserProfile = UserProfile(),  # noqa: B008  # frozen
    ) -> Answer:
        """Fills an answer up to its limit with movies that the model says nothing of."""
        rest = limit - len(answer.movies)
        if not rest:
            return answer
        seen = set(weights).union(scored.movie_id for scored in answer.movies)
        return replace(answer, movies=(*answer.movies, *self._without_model(profile, seen, rest)))

    def _without_model(self, profile: UserProfile, seen: set[str], limit: int) -> list[ScoredMovie]:
        """Fills an answer from preferred genres, then from popularity, then from the catalogue."""
        movies = self._catalog.movies
        found: list[ScoredMovie] = []
        if profile.liked_genres:
            candidates = (
                (movie.id, movie.genres) for movie in movies.values() if movie.id not in seen
            )
            ranked = rank_by_genres(
                candidates,
                profile.liked_genres,
                profile.disliked_genres,
                self._popularity.score,
                limit,
            )
            found += [ScoredMovie(movie_id, score, Source.PREFERENCE) for movie_id, score in ranked]
        gone = seen.union(scored.movie_id for scored in found)
        popular = self._popularity.top(limit - len(found), without=gone)
        found += [ScoredMovie(movie_id, score, Source.POPULAR) for movie_id, score in popular]
        if len(found) < limit:
            gone.update(scored.movie_id for scored in found)
            rest = sorted(movie_id for movie_id in movies if movie_id not in gone)
            found += [
                ScoredMovie(movie_id, 0.0, Source.POPULAR)
                for movie_id in rest[: limit - len(found)]
            ]
        return found

    async def similar(self, movie_id: str, limit: int) -> Neighbours:
        """Finds the movies nearest to one.

        Raises:
            NotFound: The movie is unknown.
            FailedPrecondition: No model serves, or the movie has no vector yet.
        """
        if await self._catalog.unknown([movie_id]):
            raise NotFound("movie", movie_id)
        model = self._serving.current
        if model is None:
            raise FailedPrecondition("NO_MODEL", "no model serves yet; train and promote one")
        row = model.index.row_of(movie_id)
        if row is None:
            raise FailedPrecondition(
                "MOVIE_WITHOUT_VECTOR",
                f"movie {movie_id!r} has no vector yet",
                metadata={"movie_id": movie_id},
            )
        rows, similarities = model.index.similar_movies(row, limit)
        return Neighbours(
            tuple(
                (model.index.movie_ids[row], float(similarity))
                for row, similarity in zip(rows, similarities, strict=True)
            ),
            model.version,
            model.index.index_version,
        )

    def trending(self, limit: int) -> list[tuple[str, float]]:
        """Returns the most watched movies with their scores."""
        return self._popularity.top(limit)

    def _require_catalog(self) -> None:
        if not self._catalog.movies:
            raise FailedPrecondition("EMPTY_CATALOG", "the catalogue has no movies yet")


def weights_of(state: UserState) -> dict[str, float]:
    """Returns what each movie of a history says about its person.

    Of several interactions with one movie the last counts; a weight of 0 says nothing, but the
    movie is known.
    """
    return {entry.movie_id: INTERACTION_WEIGHTS[entry.type.name.lower()] for entry in state.history}


def _by_model(
    model: ServingModel, weights: Mapping[str, float], limit: int, *, explain: bool
) -> list[ScoredMovie]:
    index = model.index
    known = [
        (row, weight)
        for movie, weight in weights.items()
        if (row := index.row_of(movie)) is not None
    ]
    rows = np.fromiter((row for row, _ in known), np.int64, len(known))
    amounts = np.fromiter((weight for _, weight in known), np.float64, len(known))
    query = user_vector(index.factors, rows, amounts)
    if not query.any():
        return []
    best, scores = index.search(query, limit, excluded=rows)
    names = index.movie_ids
    return [
        ScoredMovie(
            names[row],
            float(score),
            Source.CONTENT if row in model.content_rows else Source.PERSONAL,
            _explanation(model, rows, amounts, row) if explain else (),
        )
        for row, score in zip(best.tolist(), scores.tolist(), strict=True)
    ]


def _explanation(
    model: ServingModel,
    rows: NDArray[np.int64],
    amounts: NDArray[np.float64],
    row: int,
) -> tuple[tuple[str, float], ...]:
    parts = contributions(model.index.factors, rows, amounts, row)
    names = model.index.movie_ids
    return tuple(
        (names[rows[place]], float(parts[place])) for place in np.argsort(-parts, kind="stable")
    )
