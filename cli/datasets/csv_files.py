"""MovieLens since 2014: `ratings.csv` and `movies.csv` in one directory."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.datasets import fields
from cli.datasets.collecting import Row, collect_movies, collect_ratings
from cli.datasets.errors import DatasetError
from cli.datasets.lines import read_lines
from cli.datasets.records import Dataset, Movie

RATINGS = "ratings.csv"
MOVIES = "movies.csv"


def read_csv_directory(directory: Path) -> Dataset:
    """Reads `ratings.csv` (userId, movieId, rating, timestamp) and `movies.csv`.

    The movies have movieId, title with the year in brackets, and genres separated by `|`.

    Raises:
        DatasetError: A file or a column is missing, or rows cannot be read.
    """
    ratings, movies = _Table(directory / RATINGS), _Table(directory / MOVIES)
    order = [ratings.at(name) for name in ("userId", "movieId", "rating", "timestamp")]
    movie_id, title, genres = (movies.at(name) for name in ("movieId", "title", "genres"))

    def parse(row: Sequence[str]) -> Movie:
        if len(row) != movies.width:
            raise fields.FieldError(f"{len(row)} fields instead of {movies.width}")
        return fields.movie(row[movie_id], row[title], "", row[genres].split("|"))

    return Dataset(
        directory.resolve().name,
        collect_movies(movies.path, movies.rows(), parse),
        collect_ratings(ratings.path, ratings.rows(), order),
    )


class _Table:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = csv.reader(read_lines(path), strict=True)
        header = next(self._rows(), [])
        self._columns = {name.strip(): at for at, name in enumerate(header)}
        self.width = len(header)

    def at(self, name: str) -> int:
        """Where a column is."""
        if name not in self._columns:
            raise DatasetError(f"{self.path} has no column {name} in its first line")
        return self._columns[name]

    def rows(self) -> Iterator[Row]:
        """The rows behind the header that are not empty."""
        for row in self._rows():
            if row:
                yield self._reader.line_num, row

    def _rows(self) -> Iterator[list[str]]:
        try:
            yield from self._reader
        except csv.Error as error:
            raise DatasetError(
                f"{self.path}: line {self._reader.line_num}: {error}"
                " - nothing of this data set was used"
            ) from error
