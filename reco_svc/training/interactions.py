"""The sparse user x movie matrix that every trainer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class InteractionMatrix:
    """Who interacted with what, in compressed sparse rows (one row per user).

    Attributes:
        user_ids: Ids of the rows, ascending and unique.
        movie_ids: Ids of the columns, ascending and unique.
        indptr: ``[users + 1]`` int64; row ``u`` is ``indptr[u]:indptr[u + 1]`` of the other two.
        indices: ``[nnz]`` int64 columns, ascending within a row.
        values: ``[nnz]`` float32 weights, finite and never zero.
    """

    user_ids: tuple[str, ...]
    movie_ids: tuple[str, ...]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    values: NDArray[np.float32]

    @classmethod
    def from_triples(
        cls,
        users: Sequence[str],
        movies: Sequence[str],
        weights: Sequence[float] | NDArray[np.floating] | None = None,
    ) -> InteractionMatrix:
        """Build the matrix from parallel sequences, one entry per interaction.

        Of several interactions of one user with one movie the last one counts, so pass them in
        the order they happened. A weight of zero says nothing about taste and leaves no entry,
        but its user and its movie are still listed.

        Args:
            users: User ids, ``[rows]``.
            movies: Movie ids, ``[rows]``.
            weights: Interaction weights, ``[rows]``; all one when omitted.

        Raises:
            ValueError: When the lengths differ or a weight is not finite.
        """
        values = (
            np.ones(len(users), dtype=np.float32)
            if weights is None
            else np.asarray(weights, dtype=np.float32)
        )
        if not len(users) == len(movies) == len(values):
            raise ValueError(
                f"{len(users)} users, {len(movies)} movies and {len(values)} weights do not match"
            )
        if not np.isfinite(values).all():
            raise ValueError("interaction weights must be finite")

        user_ids, rows = _index(users)
        movie_ids, columns = _index(movies)
        # Stable, so that equal cells stay in the order given and the last of them is the newest.
        order = np.lexsort((columns, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        newest = np.ones(len(rows), dtype=bool)
        newest[:-1] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
        kept = newest & (values != 0)
        counts = np.bincount(rows[kept], minlength=len(user_ids))
        return cls(
            user_ids=user_ids,
            movie_ids=movie_ids,
            indptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            indices=columns[kept],
            values=values[kept],
        )

    @property
    def n_users(self) -> int:
        """Number of rows."""
        return len(self.user_ids)

    @property
    def n_movies(self) -> int:
        """Number of columns."""
        return len(self.movie_ids)

    @property
    def nnz(self) -> int:
        """Number of stored interactions."""
        return len(self.indices)

    def row(self, user: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the columns and the weights of one user, both ``[interactions of the user]``."""
        cells = slice(self.indptr[user], self.indptr[user + 1])
        return self.indices[cells], self.values[cells]

    def row_lengths(self) -> NDArray[np.int64]:
        """Return the number of interactions of each user, ``[users]``."""
        return np.diff(self.indptr)

    def movie_counts(self) -> NDArray[np.int64]:
        """Return the number of people who interacted with each movie, ``[movies]``."""
        return np.bincount(self.indices, minlength=self.n_movies).astype(np.int64)

    def entry_rows(self) -> NDArray[np.int64]:
        """Return the row of every stored interaction, ``[nnz]``."""
        return np.repeat(np.arange(self.n_users), self.row_lengths())

    def where(self, mask: NDArray[np.bool_]) -> InteractionMatrix:
        """Return the same users and movies with only the interactions that ``mask [nnz]`` marks."""
        counts = np.bincount(self.entry_rows()[mask], minlength=self.n_users)
        return InteractionMatrix(
            user_ids=self.user_ids,
            movie_ids=self.movie_ids,
            indptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            indices=self.indices[mask],
            values=self.values[mask],
        )


def _index(ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the distinct ids in ascending order and the position of each given id among them."""
    distinct = sorted(set(ids))
    position = {value: place for place, value in enumerate(distinct)}
    return tuple(distinct), np.fromiter(
        (position[value] for value in ids), dtype=np.int64, count=len(ids)
    )
