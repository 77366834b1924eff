"""Measures what the mesh serves: trains it on a part of a data set, asks it about the rest."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from marquee.reco.v1 import recommendation_service_pb2 as pb

from cli.aio import all_or_first_error
from cli.datasets.records import Dataset, Ratings
from cli.errors import CliError
from cli.mesh_client import Mesh, patiently
from cli.terminal import Advance
from cli.tracing import untraced
from reco_svc.training.metrics import RankingQuality, measure_rankings, popularity_rankings
from reco_svc.training.split import held_out_mask

LIST_LENGTH = 10
HELD_OUT = 0.25
_CALLS_IN_FLIGHT = 8

Watched = Mapping[str, tuple[str, ...]]
"""The movies of each person."""


@dataclass(frozen=True, slots=True)
class Split:
    """A data set in two parts.

    Attributes:
        training: What the mesh is told.
        known: The movies of each person in that part.
        held_out: Those that are kept from it.
    """

    training: Dataset
    known: Watched
    held_out: Watched


@dataclass(frozen=True, slots=True)
class Served:
    """How good the served lists are.

    Attributes:
        model: Their quality.
        popularity: That of the most watched movies, on the same split.
        seconds: How long it took to ask for all lists.
    """

    model: RankingQuality
    popularity: RankingQuality
    seconds: float

    def measures(self) -> dict[str, tuple[float, float | None]]:
        """By name: the model's and popularity's."""
        return {
            f"{name}@{self.model.k}": (getattr(self.model, name), getattr(self.popularity, name))
            for name in ("ndcg", "recall", "coverage")
        }


def split(dataset: Dataset, seed: int) -> Split:
    """Holds out a quarter of each person's movies.

    Args:
        dataset: What to split.
        seed: Another seed gives another split.
    """
    ratings = dataset.ratings
    mask = held_out_mask(
        [ratings.user_ids[number] for number in ratings.users],
        [ratings.movie_ids[number] for number in ratings.movies],
        seed=seed,
        fraction=HELD_OUT,
    )
    training = ratings.select(~mask)
    return Split(
        Dataset(dataset.name, dataset.movies, training),
        _watched(training),
        _watched(ratings.select(mask)),
    )


async def measure_served(mesh: Mesh, parts: Split, advance: Advance) -> Served:
    """Asks for everybody's recommendations and compares them with what was held out.

    Args:
        mesh: It serves a model trained on `parts.training`.
        parts: The split.
        advance: Told how many more people have an answer.

    Raises:
        CliError: A list holds a movie that the person is known to have watched.
        grpc.aio.AioRpcError: A call failed for good.
    """
    begin = time.monotonic()
    lists: dict[str, list[str]] = {}
    people: Iterator[str] = iter(parts.held_out)

    async def ask() -> None:
        for user_id in people:  # shared: each person is taken by the first asker that is free
            request = pb.RecommendRequest(user_id=user_id, limit=LIST_LENGTH)
            reply = await patiently(mesh.recommendations.Recommend, request)
            lists[user_id] = [item.movie.id for item in reply.recommendations]
            advance(1)

    with untraced():
        await all_or_first_error(*(ask() for _ in range(_CALLS_IN_FLIGHT)))
    took = time.monotonic() - begin
    _check_unwatched(lists, parts.known)
    return await asyncio.to_thread(_measure, lists, parts, took)


def _measure(lists: Mapping[str, list[str]], parts: Split, took: float) -> Served:
    size = len(parts.training.movies)
    popular = popularity_rankings(parts.known, parts.held_out, k=LIST_LENGTH)
    model, popularity = (
        measure_rankings(some, parts.held_out, catalogue_size=size, k=LIST_LENGTH)
        for some in (lists, popular)
    )
    return Served(model, popularity, took)


def _check_unwatched(lists: Mapping[str, list[str]], known: Watched) -> None:
    for user_id, movies in lists.items():
        if again := set(movies) & set(known.get(user_id, ())):
            raise CliError(
                f"the mesh recommends to {user_id} what they have watched: {sorted(again)[0]}"
            )


def _watched(ratings: Ratings) -> Watched:
    watched: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for user, movie in zip(ratings.users, ratings.movies, strict=True):
        watched[ratings.user_ids[user]][ratings.movie_ids[movie]] = None
    return {user_id: tuple(movies) for user_id, movies in watched.items()}
