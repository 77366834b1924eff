"""What people like, and what they were last told, in MongoDB."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from mesh.mongo.client import Document, Session
from reco_svc.domain import ProfileVersion, ToldList, UserProfile
from reco_svc.store.races import creating, only_duplicates
from reco_svc.store.schema import TOLD_LISTS, USER_PROFILES


class ProfileStore:
    """The read model of the user service's events."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._profiles = database[USER_PROFILES]

    async def get(self, user_id: str) -> UserProfile:
        """Returns a person's profile; an empty one if the user service said nothing."""
        document = await self._profiles.find_one({"_id": user_id})
        if document is None:
            return UserProfile()
        return UserProfile(tuple(document["liked_genres"]), tuple(document["disliked_genres"]))

    async def version(self, user_id: str, session: Session) -> ProfileVersion:
        """Returns the latest version that is known of a person."""
        document = await self._profiles.find_one({"_id": user_id}, session=session)
        if document is None:
            return ProfileVersion()
        return ProfileVersion(int(document["version"]), document.get("deleted", False))

    async def put(
        self, user_id: str, version: ProfileVersion, profile: UserProfile, session: Session
    ) -> None:
        """Writes a profile inside the transaction that read the version before.

        Raises:
            CreatedMeanwhile: Another writer created it; the transaction is lost.
        """
        with creating():
            await self._profiles.replace_one(
                {"_id": user_id},
                {
                    "_id": user_id,
                    "version": version.number,
                    "deleted": version.deleted,
                    "liked_genres": list(profile.liked_genres),
                    "disliked_genres": list(profile.disliked_genres),
                },
                upsert=True,
                session=session,
            )


class ToldListStore:
    """The list each person was last told of."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._lists = database[TOLD_LISTS]

    async def get(self, user_id: str, session: Session | None = None) -> ToldList | None:
        """Returns the list, or None if nothing was computed yet."""
        document = await self._lists.find_one({"_id": user_id}, session=session)
        if document is None:
            return None
        return ToldList(
            document["version"],
            tuple(document["movie_ids"]),
            document["watermark"],
            document["model_version"],
        )

    async def put(self, user_id: str, told: ToldList, session: Session) -> None:
        """Writes the list inside the transaction that read the one before.

        Raises:
            CreatedMeanwhile: Another writer created it; the transaction is lost.
        """
        with creating():
            await self._lists.replace_one(
                {"_id": user_id}, {"_id": user_id, **_fields(told)}, upsert=True, session=session
            )

    async def put_first(self, lists: Sequence[tuple[str, ToldList]]) -> None:
        """Writes lists of people who have none; existing ones stay."""
        if not lists:
            return
        try:
            await self._lists.bulk_write(
                [
                    UpdateOne({"_id": user_id}, {"$setOnInsert": _fields(told)}, upsert=True)
                    for user_id, told in lists
                ],
                ordered=False,
            )
        except BulkWriteError as error:
            # Two writers may both find nothing; MongoDB lets one of them fail.
            if not only_duplicates(error):
                raise


def _fields(told: ToldList) -> Document:
    return {
        "version": told.version,
        "movie_ids": list(told.movie_ids),
        "watermark": told.watermark,
        "model_version": told.model_version,
    }
