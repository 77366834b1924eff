"""The one form of a data set, whatever files it came from."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Movie:
    """A movie of a data set.

    Attributes:
        id: Its id, fit for the catalogue.
        title: Its title without the year.
        genres: Its genres in the order of the file; perhaps none.
        year: The year of release, 0 when unknown.
    """

    id: str
    title: str
    genres: tuple[str, ...]
    year: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """Ratings as columns of one length, one entry per row.

    Attributes:
        user_ids: The ids that `users` points into.
        movie_ids: The ids that `movies` points into.
        users: Who rated, int32.
        movies: Which movie, int32.
        values: The rating, 0.5 to 5, float64.
        times: When, in seconds since 1970-01-01 UTC, int64.
    """

    user_ids: tuple[str, ...]
    movie_ids: tuple[str, ...]
    users: NDArray[np.int32]
    movies: NDArray[np.int32]
    values: NDArray[np.float64]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)

    def select(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Ratings:
        """Returns some of the rows, given by their numbers or a mask; the ids stay the same."""
        return Ratings(
            user_ids=self.user_ids,
            movie_ids=self.movie_ids,
            users=self.users[rows],
            movies=self.movies[rows],
            values=self.values[rows],
            times=self.times[rows],
        )

    def by_user(self) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """Yields each user who rated, with the numbers of their rows from oldest to newest."""
        if not len(self):
            return
        order = np.lexsort((self.times, self.users))
        starts = np.flatnonzero(np.diff(self.users[order])) + 1
        for rows in np.split(order, starts):
            yield self.user_ids[self.users[rows[0]]], rows


@dataclass(frozen=True, slots=True)
class Dataset:
    """Movies and what people thought of them.

    Attributes:
        name: Names the data set in the ids of its interactions.
        movies: The movies, no id twice.
        ratings: The ratings.
    """

    name: str
    movies: tuple[Movie, ...]
    ratings: Ratings


class RatingsBuilder:
    """Takes ratings row by row and keeps them as columns: 20 bytes each instead of an object."""

    def __init__(self) -> None:
        self._user_numbers: dict[str, int] = {}
        self._movie_numbers: dict[str, int] = {}
        self._users = array("i")
        self._movies = array("i")
        self._values = array("d")
        self._times = array("q")

    def add(self, user_id: str, movie_id: str, value: float, time: int) -> None:
        """Adds a row."""
        self._users.append(self._user_numbers.setdefault(user_id, len(self._user_numbers)))
        self._movies.append(self._movie_numbers.setdefault(movie_id, len(self._movie_numbers)))
        self._values.append(value)
        self._times.append(time)

    def build(self) -> Ratings:
        """Returns what was added."""
        return Ratings(
            user_ids=tuple(self._user_numbers),
            movie_ids=tuple(self._movie_numbers),
            users=np.array(self._users, dtype=np.int32),
            movies=np.array(self._movies, dtype=np.int32),
            values=np.array(self._values, dtype=np.float64),
            times=np.array(self._times, dtype=np.int64),
        )
