"""RecBole's atomic files: tab-separated, with a typed header such as `item_id:token`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.datasets import fields
from cli.datasets.collecting import Row, collect_movies, collect_ratings
from cli.datasets.errors import DatasetError
from cli.datasets.lines import read_lines
from cli.datasets.records import Dataset, Movie

_TITLES = ("movie_title", "title", "name")
_YEARS = ("release_year", "year")
_GENRES = ("class", "genre", "genres")


def find_interactions(directory: Path) -> Path | None:
    """Returns the one `.inter` file of a directory, or the one named like it; None without any.

    Raises:
        DatasetError: There are several and none is named like the directory.
    """
    found = sorted(directory.glob("*.inter"))
    if len(found) <= 1:
        return found[0] if found else None
    for path in found:
        if path.stem == directory.resolve().name:
            return path
    names = ", ".join(path.name for path in found)
    raise DatasetError(f"{directory} holds several data sets: name one of the files {names}")


def read_atomic(interactions: Path) -> Dataset:
    """Reads an `.inter` file and the `.item` file beside it.

    Columns used: user_id, item_id, rating, timestamp; item_id, movie_title (title, name),
    release_year (year) and class (genre, genres), whose genres are separated by blanks. The year
    and the genres may be missing.

    Raises:
        DatasetError: A file or a column is missing, or rows cannot be read.
    """
    items = interactions.with_suffix(".item")
    if not items.exists():
        raise DatasetError(f"{items} is missing: without it the movies have no titles")
    table = _Table(interactions)
    order = [table.required(name) for name in ("user_id", "item_id", "rating", "timestamp")]
    ratings = collect_ratings(interactions, table.rows(), order)
    return Dataset(interactions.stem, _movies(items), ratings)


class _Table:
    """One atomic file: where its columns are, and its rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = read_lines(path)
        header = next(self._lines, "").rstrip("\r\n").split("\t")
        self._columns = {name.partition(":")[0]: at for at, name in enumerate(header)}
        self._width = len(header)

    def column(self, *names: str) -> int | None:
        return next((self._columns[name] for name in names if name in self._columns), None)

    def required(self, *names: str) -> int:
        at = self.column(*names)
        if at is None:
            raise DatasetError(f"{self._path} has no column {' or '.join(names)} in its first line")
        return at

    def rows(self) -> Iterator[Row]:
        for number, line in enumerate(self._lines, start=2):
            if line.strip():
                yield number, line.rstrip("\r\n").split("\t")

    def check_width(self, row: Sequence[str]) -> None:
        if len(row) != self._width:
            raise fields.FieldError(f"{len(row)} fields instead of {self._width}")


def _movies(path: Path) -> tuple[Movie, ...]:
    table = _Table(path)
    item, title = table.required("item_id"), table.required(*_TITLES)
    year, genres = table.column(*_YEARS), table.column(*_GENRES)

    def parse(row: Sequence[str]) -> Movie:
        table.check_width(row)
        return fields.movie(
            row[item],
            row[title],
            "" if year is None else row[year],
            () if genres is None else row[genres].split(),
        )

    return collect_movies(path, table.rows(), parse)
