"""An immutable index over the out-vectors of one model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from reco_svc.ranking.model import Factors

_faiss: Any = faiss  # its stubs lack the search parameters

IndexKind = Literal["exact", "hnsw"]

EXACT_UP_TO = 50_000
"""A catalogue up to this size is searched exactly: a millisecond at most."""

_HNSW_LINKS = 32
_HNSW_BUILD_EFFORT = 200
_HNSW_SEARCH_EFFORT = 128

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


def use_one_thread_per_search() -> None:
    """Keeps FAISS from splitting single searches over cores; call once per process."""
    faiss.omp_set_num_threads(1)


class MovieIndex:
    """Finds the movies with the greatest inner products.

    Safe to search from several threads; nothing in it changes once it is built.

    Attributes:
        factors: The vectors, rows in ascending order of the movie ids.
        kind: `exact` or `hnsw`.
        index_version: Checksum over ids and vectors, 16 hex digits.
    """

    def __init__(self, factors: Factors, *, kind: IndexKind | None = None) -> None:
        """Builds the index.

        Args:
            factors: The model.
            kind: How to search; chosen by the size of the catalogue when left out.
        """
        self.factors = factors.sorted_by_id()
        self.kind: IndexKind = kind or ("exact" if len(factors) <= EXACT_UP_TO else "hnsw")
        self.index_version = _checksum(self.factors)
        self._rows: Mapping[str, int] = {
            movie_id: row for row, movie_id in enumerate(self.factors.movie_ids)
        }
        self._faiss = _build(self.kind, self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    @property
    def movie_ids(self) -> tuple[str, ...]:
        """The movie of each row."""
        return self.factors.movie_ids

    def row_of(self, movie_id: str) -> int | None:
        """Returns the row of a movie, or None if it has no vector."""
        return self._rows.get(movie_id)

    def search(
        self, query: NDArray[np.float32], k: int, *, excluded: Rows | None = None
    ) -> tuple[Rows, Scores]:
        """Returns the `k` best rows for one query, best first, and their inner products.

        Args:
            query: `[d]` float32.
            k: How many; fewer come back only when there are no more.
            excluded: Rows that must not come back, `[m]`.
        """
        k = min(k, len(self) - (0 if excluded is None else len(np.unique(excluded))))
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        selector = None
        if excluded is not None and len(excluded):
            batch = faiss.IDSelectorBatch(np.ascontiguousarray(excluded, dtype=np.int64))
            selector = faiss.IDSelectorNot(batch)
        scores, rows = self._faiss.search(
            query.reshape(1, -1), k, params=self._parameters(selector, k)
        )
        found = rows[0] >= 0
        if found.sum() < k:
            # The graph did not reach enough of what is allowed.
            return self._scan(query, k, excluded)
        return rows[0], scores[0]

    def similar_movies(self, row: int, k: int) -> tuple[Rows, Scores]:
        """Returns the `k` rows whose out-vectors have the greatest cosine with that of `row`."""
        vectors = self.factors.out_vectors
        lengths = np.linalg.norm(vectors, axis=1)
        products = vectors @ vectors[row]
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = np.nan_to_num(products / (lengths * lengths[row]))
        cosines[row] = -np.inf
        best = _best(cosines, min(k, len(self) - 1))
        return best, np.clip(cosines[best], -1, 1).astype(np.float32)

    def _parameters(self, selector: Any, k: int) -> Any:
        if self.kind == "hnsw":
            effort = max(_HNSW_SEARCH_EFFORT, 2 * k)
            return _faiss.SearchParametersHNSW(sel=selector, efSearch=effort)
        return None if selector is None else _faiss.SearchParameters(sel=selector)

    def _scan(
        self, query: NDArray[np.float32], k: int, excluded: Rows | None
    ) -> tuple[Rows, Scores]:
        scores = self.factors.out_vectors @ query
        if excluded is not None:
            scores[excluded] = -np.inf
        best = _best(scores, k)
        return best, scores[best]


def _best(scores: Scores, k: int) -> Rows:
    if k <= 0:
        return np.empty(0, np.int64)
    top = np.argpartition(-scores, k - 1)[:k]
    return top[np.argsort(-scores[top], kind="stable")]


def _build(kind: IndexKind, factors: Factors) -> Any:
    dimension = max(factors.dimension, 1)
    index: Any  # FAISS's stubs lack what its SWIG classes have
    if kind == "exact":
        index = faiss.IndexFlatIP(dimension)
    else:
        index = faiss.IndexHNSWFlat(dimension, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _HNSW_BUILD_EFFORT
    if len(factors):
        index.add(np.ascontiguousarray(factors.out_vectors))
    return index


def _checksum(factors: Factors) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for movie_id in factors.movie_ids:
        digest.update(movie_id.encode() + b"\0")
    digest.update(np.ascontiguousarray(factors.in_vectors).tobytes())
    digest.update(np.ascontiguousarray(factors.out_vectors).tobytes())
    return digest.hexdigest()
