"""MovieLens-100K as GroupLens publishes it: `u.data` and `u.item` in one directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.datasets import fields
from cli.datasets.collecting import Row, collect_movies, collect_ratings
from cli.datasets.lines import read_lines
from cli.datasets.records import Dataset, Movie

RATINGS = "u.data"
MOVIES = "u.item"

# The flags behind the fifth field, in the order of u.genre.
_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_FIRST_FLAG = 5
_WIDTH = _FIRST_FLAG + len(_GENRES)


def read_udata_directory(directory: Path) -> Dataset:
    """Reads `u.data` (user, movie, rating, timestamp; tabs) and `u.item` (latin-1, bars).

    Raises:
        DatasetError: A file is missing, or rows cannot be read.
    """
    ratings, movies = directory / RATINGS, directory / MOVIES
    return Dataset(
        directory.resolve().name,
        collect_movies(movies, _rows(movies, "|"), _movie),
        collect_ratings(ratings, _rows(ratings, "\t"), (0, 1, 2, 3)),
    )


def _movie(row: Sequence[str]) -> Movie:
    if len(row) != _WIDTH:
        raise fields.FieldError(f"{len(row)} fields instead of {_WIDTH}")
    genres = [name for name, flag in zip(_GENRES, row[_FIRST_FLAG:], strict=True) if flag == "1"]
    return fields.movie(row[0], row[1], row[2].rpartition("-")[2], genres)


def _rows(path: Path, separator: str) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path, "latin-1"), start=1):
        if line.strip():
            yield number, line.rstrip("\r\n").split(separator)
