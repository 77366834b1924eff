from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from mesh.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, StaleEtag
from user_svc.domain import (
    Account,
    Cause,
    Change,
    Page,
    Position,
    Preferences,
    Profile,
    UserFilter,
    email_key,
    position_of,
)
from user_svc.service.ports import Changes, Creation
from user_svc.service.users import UserService

ResultT = TypeVar("ResultT")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
CAUSE = Cause("service:tests", "CreateUser", "", "trace")
REPEATED = replace(CAUSE, request_id="r")
EVERYBODY = UserFilter()


class MemoryAccounts:
    """The port in memory; `announced` lists (user id, version) of each change, in order."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.tombstones: dict[str, int] = {}
        self.creations: dict[tuple[str, str], Creation] = {}
        self.announced: list[tuple[str, int]] = []
        self.changes: list[Change] = []

    async def get(self, user_id: str) -> Account | None:
        return self.accounts.get(user_id)

    async def find(self, user_ids: Sequence[str]) -> dict[str, Account]:
        assert len(set(user_ids)) == len(user_ids)
        return {key: self.accounts[key] for key in user_ids if key in self.accounts}

    async def page(self, wanted: UserFilter, *, after: Position | None, limit: int) -> Page:
        behind = "" if after is None else after.user_id
        found = [
            account
            for key, account in sorted(self.accounts.items())
            if key > behind and wanted.matches(account)
        ]
        end = position_of(found[limit - 1]) if len(found) > limit else None
        return Page(tuple(found[:limit]), end)

    async def trail(self, user_id: str, *, before: int | None, limit: int) -> list[Change]:
        changes = [
            change
            for change in reversed(self.changes)
            if change.user_id == user_id and (before is None or change.version < before)
        ]
        return changes[:limit]

    async def transaction(self, work: Callable[[Changes], Awaitable[ResultT]]) -> ResultT:
        return await work(self)

    async def account(self, user_id: str) -> Account | None:
        return self.accounts.get(user_id)

    async def email_owner(self, email: str) -> str | None:
        for account in self.accounts.values():
            if account.profile.email and email_key(account.profile.email) == email_key(email):
                return account.user_id
        return None

    async def deleted_version(self, user_id: str) -> int:
        return self.tombstones.get(user_id, 0)

    async def creation(self, caller: str, request_id: str) -> Creation | None:
        return self.creations.get((caller, request_id))

    async def remember(self, creation: Creation) -> None:
        self.creations[creation.caller, creation.request_id] = creation

    async def add(self, account: Account, change: Change) -> None:
        await self.replace(account, change)

    async def replace(self, account: Account, change: Change) -> None:
        self.accounts[account.user_id] = account
        self.announced.append((account.user_id, account.version))
        self.changes.append(change)

    async def remove(self, deletion: Change) -> None:
        user_id, version = deletion.user_id, deletion.version
        del self.accounts[user_id]
        self.tombstones[user_id] = version
        self.changes = [change for change in self.changes if change.user_id != user_id]
        self.changes.append(deletion)
        self.creations = {
            key: Creation(*key, "", None)
            if creation.account is not None and creation.account.user_id == user_id
            else creation
            for key, creation in self.creations.items()
        }
        self.announced.append((user_id, version))


@pytest.fixture
def store() -> MemoryAccounts:
    return MemoryAccounts()


@pytest.fixture
def users(store: MemoryAccounts) -> UserService:
    return UserService(store, clock=lambda: NOW)


async def test_an_id_is_generated_unless_given(users: UserService) -> None:
    assert (await users.create("ada", Profile("Ada"), CAUSE)).user_id == "ada"
    assert len((await users.create("", Profile("Bob"), CAUSE)).user_id) == 26


async def test_ids_and_addresses_are_unique(users: UserService) -> None:
    await users.create("ada", Profile("Ada", "Ada@example.org"), CAUSE)
    await users.create("bob", Profile("Bob"), CAUSE)
    await users.create("eve", Profile("Eve"), CAUSE)
    with pytest.raises(AlreadyExists) as caught:
        await users.create("ada", Profile("Other"), CAUSE)
    assert caught.value.reason == "USER_ID_TAKEN"
    with pytest.raises(AlreadyExists) as caught:
        await users.create("", Profile("Other", "ada@EXAMPLE.org"), CAUSE)
    assert caught.value.reason == "USER_EMAIL_TAKEN"
    with pytest.raises(AlreadyExists):
        await users.update("bob", Profile("Bob", "ada@example.org"), ["email"], CAUSE)
    await users.update("ada", Profile("Ada", "ada@example.org"), ["email"], CAUSE)


async def test_a_repeated_request_returns_the_first_result(
    users: UserService, store: MemoryAccounts
) -> None:
    first = await users.create("", Profile("Ada"), REPEATED)
    await users.update(first.user_id, Profile("Countess"), ["display_name"], CAUSE)
    assert await users.create("", Profile("Ada"), REPEATED) == first
    assert len(store.accounts) == 1
    with pytest.raises(InvalidArgument) as caught:
        await users.create("", Profile("Bob"), REPEATED)
    assert caught.value.violations[0].field == "request_id"


async def test_a_repeated_request_does_not_bring_a_deleted_user_back(users: UserService) -> None:
    first = await users.create("", Profile("Ada"), REPEATED)
    await users.delete(first.user_id, CAUSE)
    with pytest.raises(FailedPrecondition):
        await users.create("", Profile("Ada"), REPEATED)


async def test_request_ids_of_different_callers_have_nothing_to_do_with_each_other(
    users: UserService,
) -> None:
    other = replace(REPEATED, actor="bob")
    first = await users.create("", Profile("Ada"), REPEATED)
    second = await users.create("bob", Profile("Bob"), other)
    assert first.user_id != second.user_id
    await users.delete(first.user_id, CAUSE)
    with pytest.raises(FailedPrecondition):
        await users.create("", Profile("Ada"), REPEATED)
    assert await users.create("bob", Profile("Bob"), other) == second


async def test_values_that_are_stored_already_are_no_change(
    users: UserService, store: MemoryAccounts
) -> None:
    values = Profile("Ada", "ada@example.org", attributes={"size": "37"})
    created = await users.create("ada", values, CAUSE)
    fields = ["display_name", "email", "locale", "time_zone", "attributes"]
    same = await users.update("ada", values, fields, CAUSE, etag=created.profile_etag)
    assert same == created
    assert await users.update("ada", values, ["attributes.size", "attributes.hat"], CAUSE) == same
    likes = Preferences(liked_genres=("Drama", "Crime"))
    assert await users.update_preferences("ada", Preferences(), ["languages"], CAUSE) == same
    liked = await users.update_preferences("ada", likes, ["liked_genres"], CAUSE)
    etag = liked.preferences_etag
    assert (
        await users.update_preferences("ada", likes, ["liked_genres", "topics"], CAUSE, etag=etag)
        == liked
    )
    assert store.announced == [("ada", 1), ("ada", 2)]
    assert len(store.changes) == 2
    with pytest.raises(StaleEtag):
        await users.update("ada", values, fields, CAUSE, etag="stale")
    with pytest.raises(StaleEtag):
        await users.update_preferences("ada", likes, ["liked_genres"], CAUSE, etag="stale")


async def test_every_change_is_announced_with_a_greater_version(
    users: UserService, store: MemoryAccounts
) -> None:
    await users.create("ada", Profile("Ada"), CAUSE)
    await users.update("ada", Profile("Countess"), ["display_name"], CAUSE)
    await users.update_preferences(
        "ada", Preferences(liked_genres=("Drama",)), ["liked_genres"], CAUSE
    )
    await users.delete("ada", CAUSE)
    await users.create("ada", Profile("Another"), CAUSE)
    assert store.announced == [("ada", version) for version in (1, 2, 3, 4, 5)]


async def test_what_is_not_there(users: UserService) -> None:
    with pytest.raises(NotFound):
        await users.get("nobody")
    with pytest.raises(NotFound):
        await users.update("nobody", Profile("x"), ["display_name"], CAUSE)
    with pytest.raises(NotFound):
        await users.update_preferences("nobody", Preferences(), [], CAUSE)
    with pytest.raises(NotFound):
        await users.delete("nobody", CAUSE)


async def test_a_stale_etag_deletes_nothing(users: UserService, store: MemoryAccounts) -> None:
    first = await users.create("ada", Profile("Ada"), CAUSE)
    await users.update("ada", Profile("Countess"), ["display_name"], CAUSE)
    with pytest.raises(StaleEtag):
        await users.delete("ada", CAUSE, etag=first.profile_etag)
    assert "ada" in store.accounts


async def test_pages_go_on_behind_the_last_user_shown(users: UserService) -> None:
    for name in ("a", "b", "c"):
        await users.create(name, Profile(name), CAUSE)
    page = await users.page(EVERYBODY, after=None, limit=2)
    assert [account.user_id for account in page.accounts] == ["a", "b"]
    assert page.end == Position("b", NOW)
    page = await users.page(EVERYBODY, after=page.end, limit=2)
    assert ([account.user_id for account in page.accounts], page.end) == (["c"], None)


async def test_of_many_ids_the_unknown_ones_are_named(users: UserService) -> None:
    for name in ("a", "b"):
        await users.create(name, Profile(name), CAUSE)
    found, missing = await users.batch_get(["b", "x", "a", "b", "x", "y"])
    assert [account.user_id for account in found] == ["b", "a"]
    assert missing == ["x", "y"]


async def test_every_change_leaves_a_trail_without_values(users: UserService) -> None:
    await users.create("ada", Profile("Ada", locale="en", attributes={"size": "37"}), REPEATED)
    ada = Cause("ada", "UpdateUser", "", "other")
    values = Profile("Countess", locale="en", attributes={"size": "38", "hat": "red"})
    renamed = await users.update("ada", values, ["display_name", "locale", "attributes"], ada)
    liked = await users.update_preferences(
        "ada", Preferences(liked_genres=("Drama",)), ["liked_genres", "languages"], ada
    )
    (third, second), more = await users.trail("ada", before=None, limit=2)
    assert more
    assert (second.cause, second.version, second.moment) == (ada, 2, NOW)
    assert second.fields == ("display_name", "attributes.hat", "attributes.size")
    assert second.etag == renamed.profile_etag
    assert third.fields == ("preferences.liked_genres",)
    assert third.etag == liked.preferences_etag
    (first,), more = await users.trail("ada", before=2, limit=2)
    assert not more
    assert (first.cause, first.fields) == (REPEATED, ("display_name", "locale", "attributes.size"))
    assert "Countess" not in str((third, second, first))


async def test_of_a_deleted_user_the_deletion_alone_is_left(users: UserService) -> None:
    await users.create("ada", Profile("Ada"), REPEATED)
    await users.delete("ada", Cause("service:desk", "DeleteUser", "request", "trace"))
    (deletion,), more = await users.trail("ada", before=None, limit=10)
    assert not more
    assert deletion == Change("ada", 2, NOW, Cause("service:desk", "DeleteUser"), (), "")


async def test_nobody_has_a_trail_who_never_was(users: UserService) -> None:
    with pytest.raises(NotFound):
        await users.trail("nobody", before=None, limit=10)
    assert await users.trail("nobody", before=7, limit=10) == ([], False)
