"""Recipients, notifications and deliveries in MongoDB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import TypeVar

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from mesh.errors import Aborted
from mesh.mongo.client import Client, Document, in_transaction
from notify_svc.domain import Channel, ListChange, Notification, Plan, Recipient, delivery_id
from notify_svc.service import Transaction
from notify_svc.store.collections import (
    DELIVERIES,
    NOTIFICATIONS,
    RECIPIENTS,
    delivery_row,
    notification_row,
    recipient_fields,
    to_notification,
    to_recipient,
)

_ATTEMPTS = 3
ResultT = TypeVar("ResultT")


class MongoNotifications:
    """Fills the port `notify_svc.service.Notifications`."""

    def __init__(self, client: Client, database: AsyncDatabase[Document]) -> None:
        """Takes the client of the event loop and the database that `SPECS` describe."""
        self._client = client
        self._recipients = database[RECIPIENTS]
        self._notifications = database[NOTIFICATIONS]
        self._deliveries = database[DELIVERIES]

    async def transaction(self, work: Callable[[Transaction], Awaitable[ResultT]]) -> ResultT:
        """Commits all that `work` does, or nothing.

        Raises:
            Aborted: Another transaction wrote the same rows time and again.
        """

        async def attempt(session: AsyncClientSession) -> ResultT:
            return await work(
                _Planning(session, self._recipients, self._notifications, self._deliveries)
            )

        return await self._commit(attempt)

    async def learn(self, recipient: Recipient) -> bool:
        """Keeps what is known of a person, unless something newer is known."""
        user_id = recipient.user_id

        async def attempt(session: AsyncClientSession) -> bool:
            known = await self._recipients.find_one({"_id": user_id}, session=session)
            if known is not None and known["version"] >= recipient.version:
                return False
            await self._recipients.update_one(
                {"_id": user_id},
                {"$set": recipient_fields(recipient), "$setOnInsert": {"last_sequence": 0}},
                upsert=True,
                session=session,
            )
            if recipient.deleted:
                await self._notifications.delete_many({"user_id": user_id}, session=session)
                await self._deliveries.delete_many({"user_id": user_id}, session=session)
            return True

        return await self._commit(attempt)

    async def page(
        self, user_id: str, *, before: int | None, limit: int, unread_only: bool
    ) -> list[Notification]:
        """Returns listed notifications with sequences under `before`, newest first."""
        query: Document = {"user_id": user_id, "listed": True}
        if before is not None:
            query["sequence"] = {"$lt": before}
        if unread_only:
            query["read_time"] = None
        rows = self._notifications.find(query).sort("sequence", -1).limit(limit)
        return [to_notification(row) async for row in rows]

    async def unread(self, user_id: str) -> int:
        """Counts the listed notifications that are not read."""
        return await self._notifications.count_documents(
            {"user_id": user_id, "listed": True, "read_time": None}
        )

    async def mark_read(self, user_id: str, ids: Collection[str], moment: datetime) -> int:
        """Marks listed notifications as read; returns how many became so."""
        result = await self._notifications.update_many(
            {"_id": {"$in": list(ids)}, "user_id": user_id, "listed": True, "read_time": None},
            {"$set": {"read_time": moment}},
        )
        return result.modified_count

    async def last_sequence(self, user_id: str) -> int:
        """Returns the sequence number of a person's newest notification, or 0."""
        return (await self.last_sequences([user_id])).get(user_id, 0)

    async def last_sequences(self, user_ids: Collection[str]) -> dict[str, int]:
        """Returns the newest sequence numbers of those users who have any."""
        rows = self._recipients.find({"_id": {"$in": list(user_ids)}}, {"last_sequence": 1})
        return {row["_id"]: row["last_sequence"] async for row in rows}

    async def between(
        self, user_id: str, *, after: int, until: int, limit: int
    ) -> list[Notification]:
        """Returns all notifications with `after` < sequence <= `until`, oldest first."""
        rows = (
            self._notifications.find(
                {"user_id": user_id, "sequence": {"$gt": after, "$lte": until}}
            )
            .sort("sequence", 1)
            .limit(limit)
        )
        return [to_notification(row) async for row in rows]

    async def _commit(self, attempt: Callable[[AsyncClientSession], Awaitable[ResultT]]) -> ResultT:
        for _ in range(_ATTEMPTS):
            try:
                return await in_transaction(self._client, attempt)
            except DuplicateKeyError:
                continue  # somebody was faster between our look and our write: look again
        raise Aborted("WRITE_CONFLICT", "another write of the same data was faster; try again")


class _Planning:
    def __init__(
        self,
        session: AsyncClientSession,
        recipients: AsyncCollection[Document],
        notifications: AsyncCollection[Document],
        deliveries: AsyncCollection[Document],
    ) -> None:
        self._session = session
        self._recipients = recipients
        self._notifications = notifications
        self._deliveries = deliveries

    async def is_planned(self, change: ListChange) -> bool:
        first = delivery_id(change.event_id, change.user_id, Channel.INBOX)
        found = await self._deliveries.find_one({"_id": first}, {"_id": 1}, session=self._session)
        return found is not None

    async def recipient(self, user_id: str) -> Recipient:
        row = await self._recipients.find_one({"_id": user_id}, session=self._session)
        return Recipient(user_id) if row is None else to_recipient(row)

    async def keep(self, plan: Plan) -> None:
        # The person's row is written even when no number is taken: a deletion or a change of
        # preferences at the same time then conflicts with this transaction instead of missing it.
        user_id = plan.deliveries[0].user_id
        step = 0 if plan.notification is None else 1
        row = await self._recipients.find_one_and_update(
            {"_id": user_id},
            {"$inc": {"last_sequence": step}, "$setOnInsert": {"version": 0}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=self._session,
        )
        if plan.notification is not None:
            assert row is not None, "an upsert returns what it wrote"
            await self._notifications.insert_one(
                notification_row(plan.notification, row["last_sequence"]), session=self._session
            )
        await self._deliveries.insert_many(
            [delivery_row(delivery) for delivery in plan.deliveries], session=self._session
        )
