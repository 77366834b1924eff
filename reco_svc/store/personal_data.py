"""What is held on one person, read for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Document
from reco_svc.domain import HeldState, ProfileVersion, RecordedBatch, ToldList, UserProfile
from reco_svc.store.interactions import InteractionStore, to_state
from reco_svc.store.people import ToldListStore
from reco_svc.store.schema import USER_PROFILES, USER_STATE


class PersonalDataStore:
    """Fills the port `reco_svc.ports.PersonalData`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._interactions = InteractionStore(database)
        self._lists = ToldListStore(database)
        self._states = database[USER_STATE]
        self._profiles = database[USER_PROFILES]

    async def state(self, user_id: str) -> HeldState | None:
        """Returns a person's state."""
        document = await self._states.find_one({"_id": user_id})
        if document is None:
            return None
        return HeldState(to_state(document), document.get("deleted_version", 0))

    async def taste(self, user_id: str) -> tuple[UserProfile, ProfileVersion] | None:
        """Returns what the user service told of a person, and the event that did."""
        document = await self._profiles.find_one({"_id": user_id})
        if document is None:
            return None
        profile = UserProfile(tuple(document["liked_genres"]), tuple(document["disliked_genres"]))
        return profile, ProfileVersion(document["version"], document.get("deleted", False))

    async def told_list(self, user_id: str) -> ToldList | None:
        """Returns the list that a person was last told of."""
        return await self._lists.get(user_id)

    def batches(self, user_id: str) -> AsyncIterator[RecordedBatch]:
        """Yields everything recorded of a person, the latest first."""
        return self._interactions.batches_of(user_id)
