"""The use cases of people, their preferences, and the trail of their changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from mesh.errors import AlreadyExists, FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from mesh.ids import new_id
from mesh.times import now
from user_svc.domain import (
    Account,
    Cause,
    Change,
    Page,
    Position,
    Preferences,
    Profile,
    UserFilter,
    change_of_preferences,
    change_of_profile,
    change_preferences,
    change_profile,
    creation_of,
    deletion_of,
    fingerprint,
    open_account,
    require_profile_etag,
)
from user_svc.service.ports import Accounts, Changes, Creation


class UserService:
    """The use cases of people and their preferences."""

    def __init__(self, accounts: Accounts, *, clock: Callable[[], datetime] = now) -> None:
        """Takes the store and what time it is."""
        self._accounts = accounts
        self._clock = clock

    async def create(self, user_id: str, profile: Profile, cause: Cause) -> Account:
        """Creates a user.

        Args:
            user_id: The id, or empty for a generated one.
            profile: Who they are.
            cause: The call; another one of the same actor with the same request id returns the
                first result.

        Raises:
            AlreadyExists: Id or address belong to another user.
            InvalidArgument: The actor has used the request id for something else.
            FailedPrecondition: The user that this request id created has been deleted.
        """
        asked = fingerprint(user_id, profile)
        generated, request_id = new_id(), cause.request_id

        async def work(changes: Changes) -> Account:
            if request_id:
                earlier = await changes.creation(cause.actor, request_id)
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
            await changes.add(account, creation_of(account, cause))
            if request_id:
                await changes.remember(Creation(cause.actor, request_id, asked, account))
            return account

        return await self._accounts.transaction(work)

    async def get(self, user_id: str) -> Account:
        """Returns a user with their preferences.

        Raises:
            NotFound: There is none of that id.
        """
        return _found(user_id, await self._accounts.get(user_id))

    async def batch_get(self, user_ids: Sequence[str]) -> tuple[list[Account], list[str]]:
        """Returns the users of these ids in their order, each once, and the unknown ids."""
        wanted = list(dict.fromkeys(user_ids))
        found = await self._accounts.find(wanted)
        return (
            [found[user_id] for user_id in wanted if user_id in found],
            [user_id for user_id in wanted if user_id not in found],
        )

    async def page(self, wanted: UserFilter, *, after: Position | None, limit: int) -> Page:
        """Returns users in the order of the filter.

        Args:
            wanted: Which.
            after: Behind whom to begin; None: with the first.
            limit: How many at most.
        """
        return await self._accounts.page(wanted, after=after, limit=limit)

    async def trail(
        self, user_id: str, *, before: int | None, limit: int
    ) -> tuple[list[Change], bool]:
        """Returns what was changed of a user, the latest first, and whether there is more.

        Args:
            user_id: Of whom.
            before: The version under which to begin; None: with the latest change.
            limit: How many at most.

        Raises:
            NotFound: There is none of that id, and none was deleted.
        """
        found = await self._accounts.trail(user_id, before=before, limit=limit + 1)
        if not found and before is None:
            await self.get(user_id)  # a user from before there were trails has an empty one
        return found[:limit], len(found) > limit

    async def update(
        self,
        user_id: str,
        values: Profile,
        fields: Collection[str],
        cause: Cause,
        *,
        etag: str = "",
    ) -> Account:
        """Changes the named fields of a user; see `change_profile`.

        Values that are stored already are no change: nothing is written, announced or noted.

        Raises:
            NotFound: There is none of that id.
            StaleEtag: The user has changed since the caller read them.
            AlreadyExists: The address belongs to another user.
            InvalidArgument: There would be too many attributes.
        """

        async def work(changes: Changes) -> Account:
            account = _found(user_id, await changes.account(user_id))
            changed = change_profile(account, values, fields, etag=etag, moment=self._clock())
            if changed.profile == account.profile:
                return account
            if changed.profile.email != account.profile.email:
                await _require_free_email(changes, changed.profile.email, user_id)
            await changes.replace(changed, change_of_profile(account, changed, cause))
            return changed

        return await self._accounts.transaction(work)

    async def delete(self, user_id: str, cause: Cause, *, etag: str = "") -> None:
        """Deletes a user with their preferences.

        Raises:
            NotFound: There is none of that id.
            StaleEtag: The user has changed since the caller read them.
        """

        async def work(changes: Changes) -> None:
            account = _found(user_id, await changes.account(user_id))
            require_profile_etag(account, etag)
            await changes.remove(deletion_of(account, cause, self._clock()))

        await self._accounts.transaction(work)

    async def update_preferences(
        self,
        user_id: str,
        values: Preferences,
        fields: Collection[str],
        cause: Cause,
        *,
        etag: str = "",
    ) -> Account:
        """Changes the named preferences of a user; see `update`.

        Raises:
            NotFound: There is none of that id.
            StaleEtag: The preferences have changed since the caller read them.
            InvalidArgument: A genre would be liked and disliked at once.
        """

        async def work(changes: Changes) -> Account:
            account = _found(user_id, await changes.account(user_id))
            changed = change_preferences(account, values, fields, etag=etag, moment=self._clock())
            if changed.preferences == account.preferences:
                return account
            await changes.replace(changed, change_of_preferences(account, changed, cause))
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
