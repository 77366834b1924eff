"""What is held on one person, read for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Document
from mesh.mongo.lookup import find_by_ids
from notify_svc.domain import Delivery, HeldRecipient, Notification
from notify_svc.store.collections import (
    DELIVERIES,
    NOTIFICATIONS,
    RECIPIENTS,
    to_delivery,
    to_notification,
    to_recipient,
)

_AT_A_TIME = 50


class PersonalDataStore:
    """Fills the port `notify_svc.rpc.personal_data.PersonalData`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        """Takes the database that `SPECS` describe."""
        self._recipients = database[RECIPIENTS]
        self._notifications = database[NOTIFICATIONS]
        self._deliveries = database[DELIVERIES]

    async def recipient(self, user_id: str) -> HeldRecipient | None:
        """Returns what is known of a person."""
        row = await self._recipients.find_one({"_id": user_id})
        return None if row is None else HeldRecipient(to_recipient(row), row["last_sequence"])

    async def notifications(self, user_id: str) -> AsyncIterator[Sequence[Notification]]:
        """Yields all notifications of a person, oldest first."""
        after = 0
        while rows := (
            await self._notifications.find({"user_id": user_id, "sequence": {"$gt": after}})
            .sort("sequence", 1)
            .limit(_AT_A_TIME)
            .to_list()
        ):
            yield [to_notification(row) for row in rows]
            after = rows[-1]["sequence"]

    async def deliveries(self, user_id: str) -> AsyncIterator[Sequence[Delivery]]:
        """Yields all deliveries of a person."""
        # The ids first, in one go: a cursor would have to stay open while the caller reads.
        found = await self._deliveries.find({"user_id": user_id}, {"_id": 1}).to_list()
        for begin in range(0, len(found), _AT_A_TIME):
            ids = [row["_id"] for row in found[begin : begin + _AT_A_TIME]]
            yield [to_delivery(row) async for row in find_by_ids(self._deliveries, ids)]
