"""What can be done with users, over ports that the adapters fill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from mesh.errors import AlreadyExists, FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from mesh.ids import new_id
from mesh.times import now
from user_svc.domain import (
    Account,
    Preferences,
    Profile,
    change_preferences,
    change_profile,
    fingerprint,
    open_account,
    require_profile_etag,
)

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Creation:
    """What a request id has done.

    Attributes:
        request_id: The caller's.
        fingerprint: What was asked for; empty once the user is deleted.
        account: What was answered; None once the user is deleted.
    """

    request_id: str
    fingerprint: str
    account: Account | None


class Changes(Protocol):
    """What one transaction may read and write; every write also announces itself."""

    async def account(self, user_id: str) -> Account | None:
        """Returns an account."""

    async def email_owner(self, email: str) -> str | None:
        """Returns the id of the user with that address."""

    async def deleted_version(self, user_id: str) -> int:
        """Returns the version at which that id was last deleted, or 0."""

    async def creation(self, request_id: str) -> Creation | None:
        """Returns what a request id has done."""

    async def remember(self, creation: Creation) -> None:
        """Keeps what a request id has done."""

    async def add(self, account: Account) -> None:
        """Stores a new account and announces it."""

    async def replace(self, account: Account) -> None:
        """Stores a changed account and announces it."""

    async def remove(self, account: Account, *, version: int, moment: datetime) -> None:
        """Deletes all that is known of a person, keeps the version, and announces it."""


class Accounts(Protocol):
    """Where accounts are kept."""

    async def get(self, user_id: str) -> Account | None:
        """Returns an account."""

    async def page(self, *, after: str, limit: int) -> list[Account]:
        """Returns up to `limit` accounts with ids greater than `after`, by id."""

    async def transaction(self, work: Callable[[Changes], Awaitable[ResultT]]) -> ResultT:
        """Commits all that `work` does, or nothing; `work` may run several times."""


class UserService:
    """The use cases of people and their preferences."""

    def __init__(self, accounts: Accounts, *, clock: Callable[[], datetime] = now) -> None:
        """Takes the store and what time it is."""
        self._accounts = accounts
        self._clock = clock

    async def create(self, user_id: str, profile: Profile, *, request_id: str = "") -> Account:
        """Creates a user.

        Args:
            user_id: The id, or empty for a generated one.
            profile: Who they are.
            request_id: A repeated call with the same one returns the first result; may be empty.

        Raises:
            AlreadyExists: Id or address belong to another user.
            InvalidArgument: The request id has been used for something else.
            FailedPrecondition: The user that this request id created has been deleted.
        """
        asked = fingerprint(user_id, profile)
        generated = new_id()

        async def work(changes: Changes) -> Account:
            if request_id:
                earlier = await changes.creation(request_id)
                if earlier is not None:
                    return _first_result(earlier, asked)
            chosen = user_id or generated
            if await changes.account(chosen) is not None:
                raise AlreadyExists("user", "id")
            await _require_free_email(changes, profile.email, chosen)
            account = open_account(
                chosen,
                profile,
                last_version=await changes.deleted_version(chosen),
                moment=self._clock(),
            )
            await changes.add(account)
            if request_id:
                await changes.remember(Creation(request_id, asked, account))
            return account

        return await self._accounts.transaction(work)

    async def get(self, user_id: str) -> Account:
        """Returns a user with their preferences.

        Raises:
            NotFound: There is none of that id.
        """
        return _found(user_id, await self._accounts.get(user_id))

    async def page(self, *, after: str, limit: int) -> tuple[list[Account], bool]:
        """Returns users by id.

        Args:
            after: The id after which to begin; empty: from the first.
            limit: How many at most.

        Returns:
            The users, and whether there are more.
        """
        found = await self._accounts.page(after=after, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def update(
        self, user_id: str, values: Profile, fields: Collection[str], *, etag: str = ""
    ) -> Account:
        """Changes the named fields of a user.

        Raises:
            NotFound: There is none of that id.
            StaleEtag: The user has changed since the caller read them.
            AlreadyExists: The address belongs to another user.
        """

        async def work(changes: Changes) -> Account:
            account = _found(user_id, await changes.account(user_id))
            changed = change_profile(account, values, fields, etag=etag, moment=self._clock())
            if changed.profile.email != account.profile.email:
                await _require_free_email(changes, changed.profile.email, user_id)
            await changes.replace(changed)
            return changed

        return await self._accounts.transaction(work)

    async def delete(self, user_id: str, *, etag: str = "") -> None:
        """Deletes a user with their preferences.

        Raises:
            NotFound: There is none of that id.
            StaleEtag: The user has changed since the caller read them.
        """

        async def work(changes: Changes) -> None:
            account = _found(user_id, await changes.account(user_id))
            require_profile_etag(account, etag)
            await changes.remove(account, version=account.version + 1, moment=self._clock())

        await self._accounts.transaction(work)

    async def update_preferences(
        self, user_id: str, values: Preferences, fields: Collection[str], *, etag: str = ""
    ) -> Account:
        """Changes the named preferences of a user.

        Raises:
            NotFound: There is none of that id.
            StaleEtag: The preferences have changed since the caller read them.
            InvalidArgument: A genre would be liked and disliked at once.
        """

        async def work(changes: Changes) -> Account:
            account = _found(user_id, await changes.account(user_id))
            changed = change_preferences(account, values, fields, etag=etag, moment=self._clock())
            await changes.replace(changed)
            return changed

        return await self._accounts.transaction(work)


def _found(user_id: str, account: Account | None) -> Account:
    if account is None:
        raise NotFound("user", user_id)
    return account


def _first_result(earlier: Creation, asked: str) -> Account:
    if earlier.account is None:
        raise FailedPrecondition(
            "REQUEST_RESULT_DELETED", "the user that this request_id created has been deleted"
        )
    if earlier.fingerprint != asked:
        raise InvalidArgument(
            [FieldViolation("request_id", "has been used for a creation with other values")]
        )
    return earlier.account


async def _require_free_email(changes: Changes, email: str, user_id: str) -> None:
    owner = await changes.email_owner(email) if email else None
    if owner not in {None, user_id}:
        raise AlreadyExists("user", "email")
