"""Accounts in MongoDB, changed together with the outbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from mesh.errors import Aborted
from mesh.mongo.client import Document
from mesh.mongo.migrations import CollectionSpec, object_schema
from mesh.outbox.store import Outbox
from user_svc.domain import Account, Channel, Preferences, Profile, TopicPreference, email_key
from user_svc.events import user_changed, user_deleted
from user_svc.service import Changes, Creation

DATABASE = "marquee_user"
USERS = "users"
TOMBSTONES = "tombstones"
CREATIONS = "creations"
_NUMBER = ["int", "long"]
_ATTEMPTS = 3
ResultT = TypeVar("ResultT")

SPECS = (
    CollectionSpec(
        USERS,
        object_schema(
            {
                "_id": "string",
                "version": _NUMBER,
                "profile_version": _NUMBER,
                "preferences_version": _NUMBER,
                "profile": "object",
                "preferences": "object",
                "create_time": "date",
                "profile_time": "date",
            },
            preferences_time=["date", "null"],
            email_key="string",
        ),
        (
            IndexModel(
                [("email_key", 1)],
                name="unique_email",
                unique=True,
                partialFilterExpression={"email_key": {"$exists": True}},
            ),
        ),
    ),
    # The versions of deleted users, so that a user of the same id goes on from there.
    CollectionSpec(
        TOMBSTONES, object_schema({"_id": "string", "version": _NUMBER, "delete_time": "date"})
    ),
    CollectionSpec(
        CREATIONS,
        object_schema(
            {"_id": "string", "user_id": "string"},
            fingerprint="string",
            account=["object", "null"],
        ),
        (IndexModel([("user_id", 1)]),),
    ),
)


class MongoAccounts:
    """Fills the port `user_svc.service.Accounts`."""

    def __init__(self, database: AsyncDatabase[Document], outbox: Outbox) -> None:
        """Takes the database that `SPECS` describe and the outbox in it."""
        self._database = database
        self._users = database[USERS]
        self._outbox = outbox

    async def get(self, user_id: str) -> Account | None:
        """Returns an account."""
        row = await self._users.find_one({"_id": user_id})
        return None if row is None else _to_account(row)

    async def page(self, *, after: str, limit: int) -> list[Account]:
        """Returns up to `limit` accounts with ids greater than `after`, by id."""
        rows = self._users.find({"_id": {"$gt": after}}).sort("_id", 1).limit(limit)
        return [_to_account(row) async for row in rows]

    async def transaction(self, work: Callable[[Changes], Awaitable[ResultT]]) -> ResultT:
        """Commits all that `work` does with its events, or nothing.

        Raises:
            Aborted: Another transaction took the same key time and again.
        """

        async def attempt(session: AsyncClientSession) -> ResultT:
            return await work(_MongoChanges(self._database, self._outbox, session))

        for _ in range(_ATTEMPTS):
            try:
                return await self._outbox.transaction(attempt)
            except DuplicateKeyError:
                # Somebody was faster between our look and our write: look again, and see them.
                # The error quotes the key, perhaps an address: it must not reach a log.
                continue
        raise Aborted("WRITE_CONFLICT", "another write of the same data was faster; try again")


class _MongoChanges:
    def __init__(
        self, database: AsyncDatabase[Document], outbox: Outbox, session: AsyncClientSession
    ) -> None:
        self._users = database[USERS]
        self._tombstones = database[TOMBSTONES]
        self._creations = database[CREATIONS]
        self._outbox = outbox
        self._session = session

    async def account(self, user_id: str) -> Account | None:
        row = await self._users.find_one({"_id": user_id}, session=self._session)
        return None if row is None else _to_account(row)

    async def email_owner(self, email: str) -> str | None:
        row = await self._users.find_one(
            {"email_key": email_key(email)}, {"_id": 1}, session=self._session
        )
        return None if row is None else str(row["_id"])

    async def deleted_version(self, user_id: str) -> int:
        row = await self._tombstones.find_one({"_id": user_id}, session=self._session)
        return 0 if row is None else int(row["version"])

    async def creation(self, request_id: str) -> Creation | None:
        row = await self._creations.find_one({"_id": request_id}, session=self._session)
        if row is None:
            return None
        account = row.get("account")
        return Creation(
            request_id,
            row.get("fingerprint", ""),
            None if account is None else _to_account(account),
        )

    async def remember(self, creation: Creation) -> None:
        assert creation.account is not None, "a new creation has a result"
        row = {
            "_id": creation.request_id,
            "user_id": creation.account.user_id,
            "fingerprint": creation.fingerprint,
            "account": _to_row(creation.account),
        }
        await self._creations.insert_one(row, session=self._session)

    async def add(self, account: Account) -> None:
        await self._users.insert_one(_to_row(account), session=self._session)
        await self._outbox.append(self._session, [user_changed(account)])

    async def replace(self, account: Account) -> None:
        await self._users.replace_one(
            {"_id": account.user_id}, _to_row(account), session=self._session
        )
        await self._outbox.append(self._session, [user_changed(account)])

    async def remove(self, account: Account, *, version: int, moment: datetime) -> None:
        user_id = account.user_id
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
        event = user_deleted(user_id, version=version, moment=moment)
        await self._outbox.append(self._session, [event])


def _to_row(account: Account) -> Document:
    profile, preferences = account.profile, account.preferences
    row: Document = {
        "_id": account.user_id,
        "version": account.version,
        "profile_version": account.profile_version,
        "preferences_version": account.preferences_version,
        "profile": {
            "display_name": profile.display_name,
            "email": profile.email,
            "locale": profile.locale,
            "time_zone": profile.time_zone,
            # Pairs, since a key may hold what MongoDB has reserved: "." and "$".
            "attributes": [[key, value] for key, value in sorted(profile.attributes.items())],
        },
        "preferences": {
            "liked_genres": list(preferences.liked_genres),
            "disliked_genres": list(preferences.disliked_genres),
            "languages": list(preferences.languages),
            "topics": [
                {"topic": topic.topic, "muted": [channel.value for channel in topic.muted_channels]}
                for topic in preferences.topics
            ],
        },
        "create_time": account.create_time,
        "profile_time": account.profile_time,
        "preferences_time": account.preferences_time,
    }
    if profile.email:
        row["email_key"] = email_key(profile.email)
    return row


def _to_account(row: Document) -> Account:
    profile: dict[str, Any] = row["profile"]
    preferences: dict[str, Any] = row["preferences"]
    return Account(
        user_id=row["_id"],
        profile=Profile(
            display_name=profile["display_name"],
            email=profile["email"],
            locale=profile["locale"],
            time_zone=profile["time_zone"],
            attributes=dict(profile["attributes"]),
        ),
        preferences=Preferences(
            liked_genres=tuple(preferences["liked_genres"]),
            disliked_genres=tuple(preferences["disliked_genres"]),
            languages=tuple(preferences["languages"]),
            topics=tuple(
                TopicPreference(topic["topic"], tuple(Channel(name) for name in topic["muted"]))
                for topic in preferences["topics"]
            ),
        ),
        version=row["version"],
        profile_version=row["profile_version"],
        preferences_version=row["preferences_version"],
        create_time=row["create_time"],
        profile_time=row["profile_time"],
        preferences_time=row["preferences_time"],
    )
