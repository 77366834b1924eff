"""What one transaction reads and writes, together with the outbox and the audit trail."""

from __future__ import annotations

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from mesh.events import Event
from mesh.mongo.client import Document
from mesh.outbox.store import Outbox
from user_svc.domain import Account, Change, email_key
from user_svc.events import user_changed, user_deleted
from user_svc.service.ports import Creation
from user_svc.store.collections import CREATIONS, TOMBSTONES, USER_CHANGES, USERS
from user_svc.store.rows import (
    change_row,
    creation_key,
    creation_row,
    to_account,
    to_creation,
    to_row,
)


class MongoChanges:
    """Fills the port `user_svc.service.ports.Changes` inside of one transaction."""

    def __init__(
        self, database: AsyncDatabase[Document], outbox: Outbox, session: AsyncClientSession
    ) -> None:
        self._users = database[USERS]
        self._tombstones = database[TOMBSTONES]
        self._creations = database[CREATIONS]
        self._trail = database[USER_CHANGES]
        self._outbox = outbox
        self._session = session

    async def account(self, user_id: str) -> Account | None:
        """Returns an account."""
        row = await self._users.find_one({"_id": user_id}, session=self._session)
        return None if row is None else to_account(row)

    async def email_owner(self, email: str) -> str | None:
        """Returns the id of the user with that address."""
        row = await self._users.find_one(
            {"email_key": email_key(email)}, {"_id": 1}, session=self._session
        )
        return None if row is None else str(row["_id"])

    async def deleted_version(self, user_id: str) -> int:
        """Returns the version at which that id was last deleted, or 0."""
        row = await self._tombstones.find_one({"_id": user_id}, session=self._session)
        return 0 if row is None else int(row["version"])

    async def creation(self, caller: str, request_id: str) -> Creation | None:
        """Returns what a request id of a caller has done."""
        key = creation_key(caller, request_id)
        row = await self._creations.find_one({"_id": key}, session=self._session)
        return None if row is None else to_creation(row)

    async def remember(self, creation: Creation) -> None:
        """Keeps what a request id has done."""
        await self._creations.insert_one(creation_row(creation), session=self._session)

    async def add(self, account: Account, change: Change) -> None:
        """Stores a new account, announces it, and notes who did it."""
        await self._users.insert_one(to_row(account), session=self._session)
        await self._tell(user_changed(account), change)

    async def replace(self, account: Account, change: Change) -> None:
        """Stores a changed account, announces it, and notes who did it."""
        await self._users.replace_one(
            {"_id": account.user_id}, to_row(account), session=self._session
        )
        await self._tell(user_changed(account), change)

    async def remove(self, deletion: Change) -> None:
        """Deletes all that is known of a person but the deletion; see the port."""
        user_id, version, moment = deletion.user_id, deletion.version, deletion.moment
        await self._users.delete_one({"_id": user_id}, session=self._session)
        await self._tombstones.update_one(
            {"_id": user_id},
            {"$set": {"version": version, "delete_time": moment}},
            upsert=True,
            session=self._session,
        )
        await self._creations.update_many(
            {"user_id": user_id},
            {"$set": {"account": None}, "$unset": {"fingerprint": ""}},
            session=self._session,
        )
        await self._trail.delete_many({"user_id": user_id}, session=self._session)
        await self._tell(user_deleted(user_id, version=version, moment=moment), deletion)

    async def _tell(self, event: Event, change: Change) -> None:
        await self._trail.insert_one(change_row(change), session=self._session)
        await self._outbox.append(self._session, [event])
