"""Accounts in MongoDB, changed together with the outbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from mesh.errors import Aborted
from mesh.mongo.client import Document
from mesh.mongo.lookup import find_by_ids
from mesh.outbox.store import Outbox
from user_svc.domain import Account, Change, Page, Position, UserFilter, position_of
from user_svc.service.ports import Changes, Creation
from user_svc.store.collections import CREATIONS, USER_CHANGES, USERS
from user_svc.store.listing import MOST_EXAMINED, plan_of
from user_svc.store.rows import to_account, to_change, to_creation
from user_svc.store.transaction import MongoChanges

_ATTEMPTS = 3
ResultT = TypeVar("ResultT")


class MongoAccounts:
    """Fills the port `user_svc.service.ports.Accounts`."""

    def __init__(self, database: AsyncDatabase[Document], outbox: Outbox) -> None:
        """Takes the database that `SPECS` describe and the outbox in it."""
        self._database = database
        self._users = database[USERS]
        self._creations = database[CREATIONS]
        self._trail = database[USER_CHANGES]
        self._outbox = outbox

    async def get(self, user_id: str) -> Account | None:
        """Returns an account."""
        row = await self._users.find_one({"_id": user_id})
        return None if row is None else to_account(row)

    async def find(self, user_ids: Sequence[str]) -> dict[str, Account]:
        """Returns the accounts found, by id."""
        rows = find_by_ids(self._users, user_ids)
        return {row["_id"]: to_account(row) async for row in rows}

    async def page(self, wanted: UserFilter, *, after: Position | None, limit: int) -> Page:
        """Returns accounts in the order of the filter; see the port."""
        found: list[Account] = []
        end: Position | None = None
        plan = plan_of(wanted, after)
        left = limit + 1 if plan.exact else MOST_EXAMINED
        for query in plan.queries:
            async with self._users.find(query).sort(plan.order).limit(left) as rows:
                async for row in rows:
                    account = to_account(row)
                    if wanted.matches(account):
                        if len(found) == limit:
                            return Page(tuple(found), end)
                        found.append(account)
                    end = position_of(account)
                    left -= 1
            if not left:
                return Page(tuple(found), end)
        return Page(tuple(found), None)

    async def trail(self, user_id: str, *, before: int | None, limit: int) -> list[Change]:
        """Returns up to `limit` changes with versions under `before`, the latest first."""
        query: Document = {"user_id": user_id}
        if before is not None:
            query["version"] = {"$lt": before}
        rows = self._trail.find(query).sort("version", -1).limit(limit)
        return [to_change(row) async for row in rows]

    async def creations(self, user_id: str) -> list[Creation]:
        """Returns what request ids have done for a user."""
        rows = self._creations.find({"user_id": user_id})
        return [to_creation(row) async for row in rows]

    async def transaction(self, work: Callable[[Changes], Awaitable[ResultT]]) -> ResultT:
        """Commits all that `work` does with its events, or nothing.

        Raises:
            Aborted: Another transaction took the same key time and again.
        """

        async def attempt(session: AsyncClientSession) -> ResultT:
            return await work(MongoChanges(self._database, self._outbox, session))

        for _ in range(_ATTEMPTS):
            try:
                return await self._outbox.transaction(attempt)
            except DuplicateKeyError:
                # Somebody was faster between our look and our write: look again, and see them.
                # The error quotes the key, perhaps an address: it must not reach a log.
                continue
        raise Aborted("WRITE_CONFLICT", "another write of the same data was faster; try again")
