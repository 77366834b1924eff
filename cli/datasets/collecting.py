"""Turns the rows of files into movies and ratings, noting every row that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cli.datasets import fields
from cli.datasets.errors import DatasetError, Problems
from cli.datasets.records import Movie, Ratings, RatingsBuilder

Row = tuple[int, Sequence[str]]
"""A line number, counted from 1, and the fields found there."""


def collect_movies(
    path: Path, rows: Iterable[Row], parse: Callable[[Sequence[str]], Movie]
) -> tuple[Movie, ...]:
    """Reads the movies of one file.

    Args:
        path: The file, for messages.
        rows: Its rows.
        parse: Makes a movie of a row; raises `fields.FieldError`.

    Raises:
        DatasetError: Rows cannot be read, an id comes twice, or there is no row at all.
    """
    problems = Problems(path)
    found: dict[str, Movie] = {}
    for line, row in rows:
        try:
            movie = parse(row)
        except fields.FieldError as error:
            problems.add(line, str(error))
            continue
        if movie.id in found:
            problems.add(line, f"movie id {movie.id!r} comes twice")
        found[movie.id] = movie
    problems.raise_if_any()
    if not found:
        raise DatasetError(f"{path} holds no movies")
    return tuple(found.values())


def collect_ratings(path: Path, rows: Iterable[Row], order: Sequence[int]) -> Ratings:
    """Reads the ratings of one file.

    Args:
        path: The file, for messages.
        rows: Its rows.
        order: Where in a row the user, the movie, the rating and the timestamp are.

    Raises:
        DatasetError: Rows cannot be read, or there is none.
    """
    problems = Problems(path)
    builder = RatingsBuilder()
    user, movie, value, time = order
    width = max(order) + 1
    for line, row in rows:
        if len(row) < width:
            problems.add(line, f"{len(row)} fields instead of {width}")
            continue
        try:
            builder.add(
                fields.identifier("user id", row[user]),
                fields.identifier("movie id", row[movie]),
                fields.rating(row[value]),
                fields.unix_time(row[time]),
            )
        except fields.FieldError as error:
            problems.add(line, str(error))
    problems.raise_if_any()
    ratings = builder.build()
    if not len(ratings):
        raise DatasetError(f"{path} holds no ratings")
    return ratings
