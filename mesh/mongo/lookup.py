"""Documents found by their ids, many at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from mesh.mongo.client import Document, Session

# The embedded database takes time that grows with the square of the ids found by one query.
_AT_A_TIME = 50


async def find_by_ids(
    collection: AsyncCollection[Document],
    ids: Sequence[str],
    *,
    projection: Mapping[str, Any] | None = None,
    session: Session | None = None,
) -> AsyncIterator[Document]:
    """Yields the documents that have one of the ids, in no order.

    Args:
        collection: Where to look.
        ids: What to look for, none twice.
        projection: Which fields to read; None: all.
        session: The transaction to read in, if any; without one the parts of a long list are read
            at different moments.
    """
    for begin in range(0, len(ids), _AT_A_TIME):
        part = list(ids[begin : begin + _AT_A_TIME])
        cursor = collection.find({"_id": {"$in": part}}, projection, session=session)
        async for document in cursor:
            yield document
