"""The linear model: a person is a sum of movies, a score is an inner product.

Each movie ``j`` has an in-vector ``P_j`` and an out-vector ``Q_j``. A person who interacted with
movies ``j`` with weights ``w_j`` is ``u = s * sum_j w_j P_j``, where ``s`` brings ``u`` to unit
length, and the score of movie ``i`` is ``u · Q_i``. So scores are comparable across people however
much they watched (with unit out-vectors they are cosines), and a score is exactly the sum of
``s * w_j * (P_j · Q_i)``: one contribution per watched movie.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

INTERACTION_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"view": 1.0, "watch": 1.0, "rating": 1.0, "like": 1.0, "dislike": 0.0, "skip": 0.0}
)
"""What one interaction of each type adds to its user's vector.

A weight of zero says nothing about what to recommend; the movie still counts as known to the user
and is not recommended again.
"""

LARGEST_NORM = 1e6
"""A longer vector is damaged: no trainer makes one, and its scores would drown all others."""


class InvalidVectorError(ValueError):
    """A vector cannot be part of a model: wrong length, not finite, or absurdly long."""


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The vectors of a model, one row per movie, checked when made and read-only from then on.

    Attributes:
        movie_ids: ``[n]`` distinct ids.
        in_vectors: ``P``, ``[n, d]`` float32.
        out_vectors: ``Q``, ``[n, d]`` float32.

    Raises:
        InvalidVectorError: When a vector is not finite or longer than ``LARGEST_NORM``.
        ValueError: When shapes do not match or ids repeat.
    """

    movie_ids: tuple[str, ...]
    in_vectors: NDArray[np.float32]
    out_vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        if len(set(self.movie_ids)) != len(self.movie_ids):
            raise ValueError("movie ids repeat")
        for name in ("in_vectors", "out_vectors"):
            vectors = _read_only(getattr(self, name))
            if vectors.ndim != 2 or len(vectors) != len(self.movie_ids):
                raise ValueError(
                    f"{name} has shape {vectors.shape} for {len(self.movie_ids)} movies"
                )
            bad = np.flatnonzero(~_sound(vectors))
            if len(bad):
                raise InvalidVectorError(
                    f"{name} of {len(bad)} movies are not finite or too long, "
                    f"the first is {self.movie_ids[bad[0]]}"
                )
            object.__setattr__(self, name, vectors)
        if self.in_vectors.shape != self.out_vectors.shape:
            raise ValueError(
                f"in-vectors {self.in_vectors.shape} and out-vectors {self.out_vectors.shape} "
                "differ in shape"
            )

    @classmethod
    def empty(cls, dimension: int) -> Factors:
        """Return the factors of no movie, with vectors of the given length."""
        nothing = np.empty((0, dimension), dtype=np.float32)
        return cls((), nothing, nothing)

    @property
    def dimension(self) -> int:
        """Length ``d`` of the vectors."""
        return int(self.out_vectors.shape[1])

    def __len__(self) -> int:
        return len(self.movie_ids)

    def sorted_by_id(self) -> Factors:
        """Return the same vectors with the movies in ascending order of their ids."""
        order = sorted(range(len(self)), key=self.movie_ids.__getitem__)
        return self._take(order)

    def without(self, movie_ids: Iterable[str]) -> Factors:
        """Return the factors of all other movies; ids that are not here do not matter."""
        gone = frozenset(movie_ids)
        return self._take([row for row, movie in enumerate(self.movie_ids) if movie not in gone])

    def updated(self, newer: Factors) -> Factors:
        """Return these factors with those of ``newer`` added, or in place of the old.

        Raises:
            ValueError: When the vectors differ in length.
        """
        if newer.dimension != self.dimension:
            raise ValueError(f"vectors of length {newer.dimension} do not fit {self.dimension}")
        kept = self.without(newer.movie_ids)
        return Factors(
            kept.movie_ids + newer.movie_ids,
            np.concatenate((kept.in_vectors, newer.in_vectors)),
            np.concatenate((kept.out_vectors, newer.out_vectors)),
        )

    def _take(self, rows: list[int]) -> Factors:
        return Factors(
            tuple(self.movie_ids[row] for row in rows),
            self.in_vectors[rows],
            self.out_vectors[rows],
        )


@dataclass(frozen=True, slots=True)
class RejectedVector:
    """A movie whose vectors were left out, and why."""

    movie_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CollectedFactors:
    """Factors put together from single embeddings, and those that were refused."""

    factors: Factors
    rejected: tuple[RejectedVector, ...]


def collect_factors(
    embeddings: Iterable[tuple[str, ArrayLike, ArrayLike]], dimension: int
) -> CollectedFactors:
    """Put factors together from embeddings that may be damaged, leaving the damaged ones out.

    Args:
        embeddings: (movie id, in-vector, out-vector) in any order; of equal ids the last counts.
        dimension: The length every vector must have.
    """
    sound: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    rejected: list[RejectedVector] = []
    for movie_id, in_vector, out_vector in embeddings:
        try:
            sound[movie_id] = (
                checked_vector(in_vector, dimension),
                checked_vector(out_vector, dimension),
            )
        except InvalidVectorError as error:
            rejected.append(RejectedVector(movie_id, str(error)))
    if not sound:
        return CollectedFactors(Factors.empty(dimension), tuple(rejected))
    factors = Factors(
        tuple(sound),
        np.stack([vectors[0] for vectors in sound.values()]),
        np.stack([vectors[1] for vectors in sound.values()]),
    )
    return CollectedFactors(factors, tuple(rejected))


def checked_vector(vector: ArrayLike, dimension: int) -> NDArray[np.float32]:
    """Return the vector as ``[dimension]`` float32.

    Raises:
        InvalidVectorError: When it has another shape, is not finite, or is too long.
    """
    try:
        with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused below
            array = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidVectorError(f"is not a vector of numbers: {error}") from error
    if array.shape != (dimension,):
        raise InvalidVectorError(f"expected shape ({dimension},), got {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidVectorError("contains a value that is not finite")
    if not _sound(array[None])[0]:
        raise InvalidVectorError(f"is longer than {LARGEST_NORM:g}")
    return array


def user_vector(
    factors: Factors, rows: NDArray[np.integer[Any]], weights: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """Return the vector of a person: the weighted sum of in-vectors, brought to unit length.

    Args:
        factors: The model.
        rows: The movies they interacted with, ``[m]``.
        weights: The weight of each, ``[m]``.

    Returns:
        ``[d]``; all zero when nothing with a weight is left, so that nothing is known of them.
    """
    summed = _weighted_sum(factors, rows, weights)
    return (summed * _scale(summed)).astype(np.float32)


def contributions(
    factors: Factors,
    rows: NDArray[np.integer[Any]],
    weights: NDArray[np.floating[Any]],
    movie_row: int,
) -> NDArray[np.float64]:
    """Return how much each of a person's movies adds to the score of one movie.

    Their sum is the score that search serves, up to its float32 rounding.

    Args:
        factors: The model that served the score.
        rows: The movies the person interacted with, ``[m]``.
        weights: The weight of each, ``[m]``.
        movie_row: The movie to explain.

    Returns:
        ``[m]`` float64, negative where a movie speaks against the one explained.
    """
    scale = _scale(_weighted_sum(factors, rows, weights))
    explained = factors.out_vectors[movie_row].astype(np.float64)
    similarities = factors.in_vectors[rows].astype(np.float64) @ explained
    return np.asarray(np.asarray(weights, dtype=np.float64) * similarities * scale)


def _weighted_sum(
    factors: Factors, rows: NDArray[np.integer[Any]], weights: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return ``[d]``; in double precision, for long histories sum many small terms."""
    vectors = factors.in_vectors[rows].astype(np.float64)
    return np.asarray(np.asarray(weights, dtype=np.float64) @ vectors)


def _scale(summed: NDArray[np.float64]) -> float:
    length = float(np.linalg.norm(summed))
    return 1 / length if length > 1e-9 else 0.0


def _read_only(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a contiguous float32 view or copy nobody can write through."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _sound(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return for each row of ``[n, d]`` whether it is finite and of plausible length."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return np.asarray(lengths <= LARGEST_NORM)
