"""What the user service itself holds on a person."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from marquee.user.v1 import user_service_pb2 as pb

from user_svc.domain import Account, Change
from user_svc.holders.names import USER
from user_svc.service.ports import Creation
from user_svc.wire import to_preferences, to_user, to_user_change

_CHANGES_AT_A_TIME = 50


class OwnStore(Protocol):
    """What is read; see `user_svc.store.MongoAccounts`."""

    async def get(self, user_id: str) -> Account | None:
        """Returns an account."""

    async def creations(self, user_id: str) -> list[Creation]:
        """Returns what request ids have done for a user."""

    async def trail(self, user_id: str, *, before: int | None, limit: int) -> list[Change]:
        """Returns changes with versions under `before`, the latest first."""


class OwnHolder:
    """Fills the port `user_svc.service.ports.HolderOf`."""

    name = USER

    def __init__(self, store: OwnStore) -> None:
        self._store = store

    async def records(self, user_id: str) -> AsyncGenerator[Sequence[pb.ExportedRecord], None]:
        """Yields profile, preferences, creations and the audit trail."""
        account = await self._store.get(user_id)
        if account is not None:
            yield [
                pb.ExportedRecord(user=to_user(account)),
                pb.ExportedRecord(preferences=to_preferences(account)),
            ]
        for creation in await self._store.creations(user_id):
            answered = None if creation.account is None else to_user(creation.account)
            yield [
                pb.ExportedRecord(
                    creation=pb.UserCreation(
                        request_id=creation.request_id, user=answered, actor=creation.caller
                    )
                )
            ]
        before = None
        while changes := await self._store.trail(user_id, before=before, limit=_CHANGES_AT_A_TIME):
            yield [pb.ExportedRecord(change=to_user_change(change)) for change in changes]
            before = changes[-1].version
