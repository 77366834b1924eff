"""What people like, and what they were last told, in MongoDB."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from mesh.mongo.client import Document, Session
from reco_svc.domain import ToldList, UserProfile
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

    async def put(self, user_id: str, version: int, profile: UserProfile) -> None:
        """Takes over a profile unless a later version is known."""
        try:
            await self._profiles.replace_one(
                {"_id": user_id, "version": {"$lt": version}},
                {
                    "_id": user_id,
                    "version": version,
                    "liked_genres": list(profile.liked_genres),
                    "disliked_genres": list(profile.disliked_genres),
                },
                upsert=True,
            )
        except DuplicateKeyError:
            return  # a later version is there

    async def forget(self, user_id: str) -> None:
        """Deletes a person's profile."""
        await self._profiles.delete_one({"_id": user_id})


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
        """Writes the list inside the transaction that read the one before."""
        await self._lists.replace_one(
            {"_id": user_id},
            {
                "_id": user_id,
                "version": told.version,
                "movie_ids": list(told.movie_ids),
                "watermark": told.watermark,
                "model_version": told.model_version,
            },
            upsert=True,
            session=session,
        )

    async def put_first(self, lists: Sequence[tuple[str, ToldList]]) -> None:
        """Writes lists of people who have none; existing ones stay."""
        ids = [user_id for user_id, _ in lists]
        known = {row["_id"] async for row in self._lists.find({"_id": {"$in": ids}}, {"_id": 1})}
        documents = [
            {
                "_id": user_id,
                "version": told.version,
                "movie_ids": list(told.movie_ids),
                "watermark": told.watermark,
                "model_version": told.model_version,
            }
            for user_id, told in lists
            if user_id not in known
        ]
        if documents:
            await self._lists.insert_many(documents, ordered=False)

    async def forget(self, user_id: str) -> None:
        """Deletes a person's list."""
        await self._lists.delete_one({"_id": user_id})
