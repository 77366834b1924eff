"""An immutable index over the out-vectors of one model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from reco_svc.ranking.model import Factors, checked_vector

_faiss: Any = faiss  # its stubs lack the selectors and the search parameters

IndexKind = Literal["exact", "hnsw"]

EXACT_UP_TO = 50_000
"""A catalogue up to this size is searched exactly: a millisecond at most."""

_HNSW_LINKS = 32
_HNSW_BUILD_EFFORT = 200
_HNSW_SEARCH_EFFORT = 128

# Where so few movies match, computing all their scores is faster than searching with a selector,
# and a graph would walk through much that does not match before it found them.
_SCAN_UP_TO = 4096
_SCAN_SHARE = 0.02

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]


def use_one_thread_per_search() -> None:
    """Keeps FAISS from splitting work over cores in the calling thread.

    OpenMP keeps this number per thread. Threads that did not call this may build faster; searches
    are not split there either, since each hands FAISS one query and FAISS splits by query.
    """
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
        self._lengths = np.linalg.norm(self.factors.out_vectors, axis=1)
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
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        allowed: Mask | None = None,
        excluded: Rows | None = None,
    ) -> tuple[Rows, Scores]:
        """Returns the `k` best rows for one query, best first, and their inner products.

        Equal scores are in ascending order of their rows. An `hnsw` index may miss a few of the
        best rows, but it returns fewer than `k` only when no more match, as an exact one does.

        Args:
            query: `[d]` float32.
            k: How many; fewer come back only when there are no more.
            allowed: Which rows may come back, `[n]`; all when left out.
            excluded: Rows that must not come back, `[m]`, repeats allowed.

        Raises:
            InvalidVectorError: The query has another shape or a value that is not finite.
            ValueError: `allowed` has another length than the index.
        """
        query = checked_vector(query, self.factors.dimension)
        if allowed is None:
            matches = len(self) - (0 if excluded is None else len(np.unique(excluded)))
        else:
            if allowed.shape != (len(self),):
                raise ValueError(f"a mask of shape {allowed.shape} for {len(self)} movies")
            if excluded is not None and len(excluded):
                allowed = allowed.copy()
                allowed[excluded] = False
            matches = int(np.count_nonzero(allowed))
        k = min(k, matches)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if allowed is not None and matches <= max(_SCAN_UP_TO, _SCAN_SHARE * len(self)):
            return self._scan(query, k, np.flatnonzero(allowed))
        scores, rows = self._faiss.search(
            query[None], k, params=self._parameters(_selector(allowed, excluded), k)
        )
        if rows[0, -1] < 0:
            # The graph did not reach enough of what matches.
            if allowed is None:
                allowed = np.ones(len(self), dtype=bool)
                allowed[excluded] = False
            return self._scan(query, k, np.flatnonzero(allowed))
        order = np.lexsort((rows[0], -scores[0]))
        return rows[0, order], scores[0, order]

    def search_many(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        allowed: Mask | None = None,
        excluded: Sequence[Rows] | None = None,
    ) -> list[tuple[Rows, Scores]]:
        """Returns for each of several queries what `search` returns.

        Args:
            queries: `[b, d]` float32.
            k: How many for each.
            allowed: Which rows may come back for any of them, `[n]`.
            excluded: For each query the rows that must not come back.

        Raises:
            InvalidVectorError: A query has another length or a value that is not finite.
            ValueError: `allowed` or `excluded` has another length than it must have.
        """
        known = [None] * len(queries) if excluded is None else excluded
        return [
            self.search(query, k, allowed=allowed, excluded=rows)
            for query, rows in zip(queries, known, strict=True)
        ]

    def similar_movies(self, row: int, k: int) -> tuple[Rows, Scores]:
        """Returns the `k` rows whose out-vectors have the greatest cosine with that of `row`."""
        vectors = self.factors.out_vectors
        products = vectors @ vectors[row]
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = np.nan_to_num(products / (self._lengths * self._lengths[row]), posinf=0)
        others = np.delete(np.arange(len(self)), row)
        best, scores = _best(others, cosines[others], min(k, len(others)))
        return best, np.clip(scores, -1, 1)

    def _parameters(self, selector: Any, k: int) -> Any:
        if self.kind == "hnsw":
            effort = max(_HNSW_SEARCH_EFFORT, 2 * k)
            return _faiss.SearchParametersHNSW(sel=selector, efSearch=effort)
        return None if selector is None else _faiss.SearchParameters(sel=selector)

    def _scan(
        self, query: NDArray[np.float32], k: int, rows: NDArray[np.int64]
    ) -> tuple[Rows, Scores]:
        return _best(rows, self.factors.out_vectors[rows] @ query, k)


def _best(rows: Rows, scores: Scores, k: int) -> tuple[Rows, Scores]:
    """Returns the `k` rows with the greatest scores, of equal scores the lowest rows."""
    if k <= 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= threshold)
    order = candidates[np.lexsort((rows[candidates], -scores[candidates]))][:k]
    return rows[order], scores[order]


def _selector(allowed: Mask | None, excluded: Rows | None) -> Any:
    """Returns what tells FAISS which rows to consider, or None for all.

    Args:
        allowed: If given, already without what is excluded.
        excluded: Looked at only when `allowed` is not given.
    """
    if allowed is not None:
        return _faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    if excluded is None or not len(excluded):
        return None
    return _faiss.IDSelectorNot(
        _faiss.IDSelectorBatch(np.ascontiguousarray(excluded, dtype=np.int64))
    )


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
