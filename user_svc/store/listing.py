"""Which index answers a listing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mesh.mongo.client import Document
from user_svc.domain import Position, UserFilter, email_key

MOST_EXAMINED = 2000
"""How many users one page looks at when an index answers its filter in part only."""

_BY_ID = (("_id", 1),)
_BY_CREATION = (("create_time", 1), ("_id", 1))


@dataclass(frozen=True, slots=True)
class ListingPlan:
    """How to read a listing.

    Attributes:
        queries: Asked one after the other; each is a range of one index.
        order: The order of each.
        exact: Whether everybody found matches the filter.
    """

    queries: Sequence[Document]
    order: Sequence[tuple[str, int]]
    exact: bool


def plan_of(wanted: UserFilter, after: Position | None) -> ListingPlan:
    """Returns how to read those whom a filter may match, in its order, behind a position."""
    if wanted.email:
        only = {"email_key": email_key(wanted.email), **_behind(after)}
        return ListingPlan([only], _BY_ID, exact=False)
    if wanted.by_creation:
        rest = wanted.id_prefix or wanted.locale or wanted.time_zone
        return ListingPlan(_by_creation(wanted, after), _BY_CREATION, exact=not rest)
    ids = _ids(wanted.id_prefix, after)
    if wanted.locale:
        query = {"profile.locale": wanted.locale, **ids}
        return ListingPlan([query], _BY_ID, exact=not wanted.time_zone)
    if wanted.time_zone:
        return ListingPlan([{"profile.time_zone": wanted.time_zone, **ids}], _BY_ID, exact=True)
    return ListingPlan([ids], _BY_ID, exact=True)


def _behind(after: Position | None) -> Document:
    return {} if after is None else {"_id": {"$gt": after.user_id}}


def _ids(prefix: str, after: Position | None) -> Document:
    bounds: dict[str, Any] = {}
    if prefix:
        # No character of an id is greater than "~", so this is behind every id of the prefix.
        bounds = {"$gte": prefix, "$lt": prefix + "\x7f"}
    if after is not None:
        bounds["$gt"] = after.user_id
    return {"_id": bounds} if bounds else {}


def _by_creation(wanted: UserFilter, after: Position | None) -> list[Document]:
    times: dict[str, Any] = {}
    if wanted.created_before is not None:
        times["$lt"] = wanted.created_before
    if after is None:
        if wanted.created_from is not None:
            times["$gte"] = wanted.created_from
        return [{"create_time": times}]
    # Two ranges of the index, which one condition with "or" in it would not be.
    same_moment = {"create_time": after.create_time, "_id": {"$gt": after.user_id}}
    return [same_moment, {"create_time": {**times, "$gt": after.create_time}}]
