"""Use cases of people: what the user service tells of them."""

from __future__ import annotations

from mesh.mongo.client import Session
from reco_svc.domain import ProfileVersion, ToldList, UserProfile
from reco_svc.ports import Memories, ProfileVersions, ToldLists, Transactions
from reco_svc.service.attempts import write_again_if_raced


class PeopleService:
    """Follows the user service's events, which come at least once, and in order."""

    def __init__(
        self,
        outbox: Transactions,
        profiles: ProfileVersions,
        memories: Memories,
        lists: ToldLists,
    ) -> None:
        self._outbox = outbox
        self._profiles = profiles
        self._memories = memories
        self._lists = lists

    async def changed(self, user_id: str, version: int, profile: UserProfile) -> None:
        """Takes over a profile unless this or a later version is known."""

        async def write(session: Session) -> None:
            known = await self._profiles.version(user_id, session)
            if known.number >= version:
                return
            await self._profiles.put(user_id, ProfileVersion(version), profile, session)
            if known.deleted:
                await self._memories.revive(user_id, session)

        await write_again_if_raced(self._outbox, write)

    async def deleted(self, user_id: str, version: int) -> None:
        """Forgets a person, unless this or a later version is known: they may be back since.

        Whatever is under way for them fails or is done again, since all they have is written here:
        neither interactions nor a list that were on their way can stay behind. Their id, how often
        they were heard of, and that they were deleted is kept, so that late ones are told.
        """

        async def write(session: Session) -> None:
            known = await self._profiles.version(user_id, session)
            if known.number >= version:
                return
            gone = ProfileVersion(version, deleted=True)
            await self._profiles.put(user_id, gone, UserProfile(), session)
            watermark = await self._memories.forget(user_id, version, session)
            told = await self._lists.get(user_id, session)
            empty = ToldList(1 if told is None else told.version + 1, (), watermark, "")
            await self._lists.put(user_id, empty, session)

        await write_again_if_raced(self._outbox, write)
