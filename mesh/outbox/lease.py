"""A lease in MongoDB: at most one owner at a time does a job, and a dead owner is replaced."""

from __future__ import annotations

import time
from datetime import timedelta

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from mesh.mongo.client import Document
from mesh.outbox.store import LEASES
from mesh.times import now


class Lease:
    """The right to do one job, kept by renewing it.

    Clocks of different machines may differ by less than the duration; whoever does the job must
    bear a short overlap (the relay may then send a row twice, which consumers ignore).
    """

    def __init__(
        self, database: AsyncDatabase[Document], name: str, owner: str, *, seconds: float = 5.0
    ) -> None:
        """Takes the job's name and an owner that is the same again after a restart."""
        self._leases = database[LEASES]
        self._name = name
        self._owner = owner
        self._seconds = seconds
        self._held_until = 0.0

    async def hold(self) -> bool:
        """Takes or renews the lease, with a round trip only when a third of it has passed.

        Returns:
            Whether this owner has it.
        """
        begin = time.monotonic()
        if begin < self._held_until - self._seconds * 2 / 3:
            return True
        moment = now()
        try:
            await self._leases.update_one(
                {
                    "_id": self._name,
                    "$or": [{"owner": self._owner}, {"until": {"$lt": moment}}],
                },
                {
                    "$set": {
                        "owner": self._owner,
                        "until": moment + timedelta(seconds=self._seconds),
                    }
                },
                upsert=True,
            )
        except DuplicateKeyError:
            self._held_until = 0.0
            return False
        self._held_until = begin + self._seconds
        return True

    async def release(self) -> None:
        """Gives the lease back, so that another owner need not wait for its end."""
        self._held_until = 0.0
        await self._leases.delete_one({"_id": self._name, "owner": self._owner})
