"""Vectors for movies that nobody has watched yet, from what is known about them.

Ridge regression from metadata onto the vectors of a trained model: genres, the year, and the words
of the title. A prediction is shorter than a trained vector the less the metadata tells, so a new
movie must fit a person well before it stands above one that people have watched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from reco_svc.ranking.model import Factors

_WORD_BUCKETS = 256
_FIRST_YEAR, _LAST_YEAR, _YEARS_APART = 1900, 2040, 10
_KNOTS = (_LAST_YEAR - _FIRST_YEAR) // _YEARS_APART + 1
_PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_FIT_ON_AT_MOST = 50_000


class Described(Protocol):
    """What is read of a movie."""

    @property
    def title(self) -> str:
        """The title; its words are told apart without case."""

    @property
    def genres(self) -> Sequence[str]:
        """The genres, told apart without case."""

    @property
    def year(self) -> int:
        """The year of release, 0 if unknown."""


class TooFewMoviesError(ValueError):
    """Fewer than two movies have both a vector and metadata, so there is nothing to fit."""


@dataclass(frozen=True, slots=True, eq=False)
class ContentModel:
    """Predicts in- and out-vectors from metadata.

    Attributes:
        genres: The genres of the movies it was fitted on, casefolded, to their feature.
        penalty: The ridge penalty, chosen by leave-one-out error.
        feature_mean: ``[f]`` float64.
        target_mean: ``[2 d]`` float64, in-vector then out-vector.
        coefficients: ``[f, 2 d]`` float64.
    """

    genres: Mapping[str, int]
    penalty: float
    feature_mean: NDArray[np.float64]
    target_mean: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    @classmethod
    def fit(cls, movies: Mapping[str, Described], factors: Factors) -> ContentModel:
        """Fit on the movies that have both metadata and vectors.

        Of a large catalogue a sample spread evenly over the rows is used.

        Args:
            movies: Metadata by movie id; others than those of ``factors`` do not matter.
            factors: The trained model.

        Raises:
            TooFewMoviesError: When fewer than two movies have both.
        """
        rows = np.array([row for row, movie in enumerate(factors.movie_ids) if movie in movies])
        if len(rows) < 2:
            raise TooFewMoviesError(f"{len(rows)} movies have a vector and metadata")
        if len(rows) > _FIT_ON_AT_MOST:
            rows = rows[np.linspace(0, len(rows) - 1, _FIT_ON_AT_MOST).astype(np.int64)]
        described = [movies[factors.movie_ids[row]] for row in rows]
        names = sorted({genre.casefold() for movie in described for genre in movie.genres})
        genres = {name: place for place, name in enumerate(names)}

        features = _features(described, genres)
        targets = np.hstack((factors.in_vectors[rows], factors.out_vectors[rows])).astype(float)
        feature_mean, target_mean = features.mean(axis=0), targets.mean(axis=0)
        penalty, coefficients = _ridge(features - feature_mean, targets - target_mean)
        return cls(genres, penalty, feature_mean, target_mean, coefficients)

    def predict(self, movies: Iterable[tuple[str, Described]]) -> Factors:
        """Return predicted vectors for (movie id, metadata) pairs, in their order.

        Genres and words that no movie of the fit had tell nothing.
        """
        pairs = list(movies)
        features = _features([movie for _, movie in pairs], self.genres) - self.feature_mean
        predicted = features @ self.coefficients + self.target_mean
        in_vectors, out_vectors = np.hsplit(predicted.astype(np.float32), 2)
        return Factors(tuple(movie_id for movie_id, _ in pairs), in_vectors, out_vectors)


def _features(movies: Sequence[Described], genres: Mapping[str, int]) -> NDArray[np.float64]:
    """Return ``[movies, genres + year knots + word buckets]``.

    Genres, the year and the words have at most unit length each: a movie of five genres is not
    five times as much of anything. A year lies between two knots ten years apart and belongs to
    both in part, so that neighbouring years are alike (a linear spline). Words are hashed with a
    sign (Weinberger et al., ICML 2009).
    """
    features = np.zeros((len(movies), len(genres) + _KNOTS + _WORD_BUCKETS))
    first_word = len(genres) + _KNOTS
    for row, movie in enumerate(movies):
        own = {genre.casefold() for genre in movie.genres}
        for genre in own & genres.keys():
            features[row, genres[genre]] = len(own) ** -0.5
        if movie.year:
            year = min(max(movie.year, _FIRST_YEAR), _LAST_YEAR)
            knot, rest = divmod(year - _FIRST_YEAR, _YEARS_APART)
            features[row, len(genres) + knot] = 1 - rest / _YEARS_APART
            if rest:
                features[row, len(genres) + knot + 1] = rest / _YEARS_APART
        words = set(re.findall(r"\w+", movie.title.casefold()))
        for word in words:
            hashed = crc32(word.encode())
            sign = 1 if hashed & 1 else -1
            features[row, first_word + (hashed >> 1) % _WORD_BUCKETS] += sign * len(words) ** -0.5
    return features


def _ridge(
    features: NDArray[np.float64], targets: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return the penalty with the least leave-one-out error, and its coefficients.

    One decomposition serves all penalties; leaving movie ``i`` out divides its residual by
    ``1 - h_i``, where ``h`` is the diagonal of the hat matrix (Golub, Heath and Wahba,
    Technometrics 1979).

    Args:
        features: ``[n, f]``, columns of mean zero.
        targets: ``[n, t]``, columns of mean zero.

    Returns:
        The penalty, and ``[f, t]``.
    """
    eigenvalues, directions = np.linalg.eigh(features.T @ features)
    eigenvalues = np.maximum(eigenvalues, 0)
    turned = features @ directions
    aims = turned.T @ targets

    def left_out_error(penalty: float) -> float:
        shrunk = 1 / (eigenvalues + penalty)
        residuals = targets - turned @ (shrunk[:, None] * aims)
        hat = np.einsum("ij,j,ij->i", turned, shrunk, turned) + 1 / len(features)
        return float(((residuals / np.maximum(1 - hat, 1e-6)[:, None]) ** 2).sum())

    penalty = min(_PENALTIES, key=left_out_error)
    return penalty, directions @ (aims / (eigenvalues + penalty)[:, None])
