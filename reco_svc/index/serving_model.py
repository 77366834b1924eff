"""A model as it is served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reco_svc.index.movie_index import MovieIndex


@dataclass(frozen=True, slots=True, eq=False)
class ServingModel:
    """A model with its index; replaced as a whole, so that no answer mixes two.

    Attributes:
        version: The model's version.
        index: The index over its embeddings.
        content_rows: Rows whose vectors were predicted from metadata.
        embedding_count: How many embeddings were read, also refused ones.
        load_time: When it began to serve.
    """

    version: str
    index: MovieIndex
    content_rows: frozenset[int]
    embedding_count: int
    load_time: datetime
