"""Interactions made of ratings, and how they are grouped into calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from google.protobuf import timestamp_pb2
from marquee.reco.v1 import interaction_service_pb2, movie_pb2

from cli.datasets.records import Dataset, Movie
from mesh.ids import is_id

ROWS_PER_CALL = 1000


def event_id(dataset: str, user_id: str, movie_id: str, value: float, time: int) -> str:
    """Names the interaction that a row of a data set stands for.

    The name follows from the content, so that importing a data set again, from wherever, repeats
    no interaction.

    Args:
        dataset: The name of the data set.
        user_id: Who rated.
        movie_id: Which movie.
        value: The rating.
        time: Seconds since 1970.

    Returns:
        `<dataset>.<user>.<movie>.<hash of all>`, or a hash alone where that is not an id.
    """
    content = "\0".join((dataset, user_id, movie_id, repr(value), str(time))).encode()
    readable = f"{dataset}.{user_id}.{movie_id}.{blake2b(content, digest_size=6).hexdigest()}"
    if is_id(readable):
        return readable
    return f"import.{blake2b(content, digest_size=20).hexdigest()}"


def movie_calls(movies: Sequence[Movie], size: int) -> Iterator[list[movie_pb2.Movie]]:
    """Yields the movies, `size` at a time, as the catalogue takes them."""
    for begin in range(0, len(movies), size):
        yield [
            movie_pb2.Movie(id=movie.id, title=movie.title, genres=movie.genres, year=movie.year)
            for movie in movies[begin : begin + size]
        ]


def interaction_calls(
    dataset: Dataset, size: int = ROWS_PER_CALL
) -> Iterator[list[list[interaction_service_pb2.Interaction]]]:
    """Groups the ratings of a data set into calls.

    The service writes one event per person and call, and calls with the same person wait for each
    other. So people are kept together, and those with more rows than fit into one call form a
    chain.

    Args:
        dataset: The ratings; each becomes an interaction of type RATING.
        size: The most rows of one call.

    Yields:
        Chains of calls. Calls of different chains have no person in common; those of one chain
        belong one after the other. Each person's rows go from oldest to newest.
    """
    gathered: list[interaction_service_pb2.Interaction] = []
    for user_id, numbers in dataset.ratings.by_user():
        rows = [_interaction(dataset, user_id, int(number)) for number in numbers]
        if len(rows) > size:
            yield [rows[begin : begin + size] for begin in range(0, len(rows), size)]
            continue
        if len(gathered) + len(rows) > size:
            yield [gathered]
            gathered = []
        gathered = gathered + rows
    if gathered:
        yield [gathered]


def _interaction(dataset: Dataset, user_id: str, row: int) -> interaction_service_pb2.Interaction:
    ratings = dataset.ratings
    movie_id = ratings.movie_ids[ratings.movies[row]]
    value, time = float(ratings.values[row]), int(ratings.times[row])
    return interaction_service_pb2.Interaction(
        event_id=event_id(dataset.name, user_id, movie_id, value, time),
        user_id=user_id,
        movie_id=movie_id,
        type=interaction_service_pb2.INTERACTION_TYPE_RATING,
        value=value,
        occur_time=timestamp_pb2.Timestamp(seconds=time),
    )
