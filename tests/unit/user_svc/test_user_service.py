from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from mesh.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, StaleEtag
from user_svc.domain import Account, Preferences, Profile, email_key
from user_svc.service import Changes, Creation, UserService

ResultT = TypeVar("ResultT")
NOW = datetime(2026, 11, 1, tzinfo=UTC)


class MemoryAccounts:
    """The port in memory; `announced` lists (user id, version) of each change, in order."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.tombstones: dict[str, int] = {}
        self.creations: dict[str, Creation] = {}
        self.announced: list[tuple[str, int]] = []

    async def get(self, user_id: str) -> Account | None:
        return self.accounts.get(user_id)

    async def page(self, *, after: str, limit: int) -> list[Account]:
        return [self.accounts[key] for key in sorted(self.accounts) if key > after][:limit]

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

    async def creation(self, request_id: str) -> Creation | None:
        return self.creations.get(request_id)

    async def remember(self, creation: Creation) -> None:
        self.creations[creation.request_id] = creation

    async def add(self, account: Account) -> None:
        await self.replace(account)

    async def replace(self, account: Account) -> None:
        self.accounts[account.user_id] = account
        self.announced.append((account.user_id, account.version))

    async def remove(self, account: Account, *, version: int, moment: datetime) -> None:
        del self.accounts[account.user_id]
        self.tombstones[account.user_id] = version
        self.creations = {
            key: Creation(key, "", None)
            if creation.account is not None and creation.account.user_id == account.user_id
            else creation
            for key, creation in self.creations.items()
        }
        self.announced.append((account.user_id, version))


@pytest.fixture
def store() -> MemoryAccounts:
    return MemoryAccounts()


@pytest.fixture
def users(store: MemoryAccounts) -> UserService:
    return UserService(store, clock=lambda: NOW)


async def test_an_id_is_generated_unless_given(users: UserService) -> None:
    assert (await users.create("ada", Profile("Ada"))).user_id == "ada"
    assert len((await users.create("", Profile("Bob"))).user_id) == 26


async def test_ids_and_addresses_are_unique(users: UserService) -> None:
    await users.create("ada", Profile("Ada", "Ada@example.org"))
    await users.create("bob", Profile("Bob"))
    await users.create("eve", Profile("Eve"))
    with pytest.raises(AlreadyExists) as caught:
        await users.create("ada", Profile("Other"))
    assert caught.value.reason == "USER_ID_TAKEN"
    with pytest.raises(AlreadyExists) as caught:
        await users.create("", Profile("Other", "ada@EXAMPLE.org"))
    assert caught.value.reason == "USER_EMAIL_TAKEN"
    with pytest.raises(AlreadyExists):
        await users.update("bob", Profile("Bob", "ada@example.org"), ["email"])
    await users.update("ada", Profile("Ada", "ada@example.org"), ["email"])


async def test_a_repeated_request_returns_the_first_result(
    users: UserService, store: MemoryAccounts
) -> None:
    first = await users.create("", Profile("Ada"), request_id="r")
    await users.update(first.user_id, Profile("Countess"), ["display_name"])
    assert await users.create("", Profile("Ada"), request_id="r") == first
    assert len(store.accounts) == 1
    with pytest.raises(InvalidArgument) as caught:
        await users.create("", Profile("Bob"), request_id="r")
    assert caught.value.violations[0].field == "request_id"


async def test_a_repeated_request_does_not_bring_a_deleted_user_back(users: UserService) -> None:
    first = await users.create("", Profile("Ada"), request_id="r")
    await users.delete(first.user_id)
    with pytest.raises(FailedPrecondition):
        await users.create("", Profile("Ada"), request_id="r")


async def test_every_change_is_announced_with_a_greater_version(
    users: UserService, store: MemoryAccounts
) -> None:
    await users.create("ada", Profile("Ada"))
    await users.update("ada", Profile("Countess"), ["display_name"])
    await users.update_preferences("ada", Preferences(liked_genres=("Drama",)), ["liked_genres"])
    await users.delete("ada")
    await users.create("ada", Profile("Another"))
    assert store.announced == [("ada", version) for version in (1, 2, 3, 4, 5)]


async def test_what_is_not_there(users: UserService) -> None:
    with pytest.raises(NotFound):
        await users.get("nobody")
    with pytest.raises(NotFound):
        await users.update("nobody", Profile("x"), ["display_name"])
    with pytest.raises(NotFound):
        await users.update_preferences("nobody", Preferences(), [])
    with pytest.raises(NotFound):
        await users.delete("nobody")


async def test_a_stale_etag_deletes_nothing(users: UserService, store: MemoryAccounts) -> None:
    first = await users.create("ada", Profile("Ada"))
    await users.update("ada", Profile("Countess"), ["display_name"])
    with pytest.raises(StaleEtag):
        await users.delete("ada", etag=first.profile_etag)
    assert "ada" in store.accounts


async def test_pages_tell_whether_there_are_more(users: UserService) -> None:
    for name in ("a", "b", "c"):
        await users.create(name, Profile(name))
    page, more = await users.page(after="", limit=2)
    assert ([account.user_id for account in page], more) == (["a", "b"], True)
    page, more = await users.page(after="b", limit=2)
    assert ([account.user_id for account in page], more) == (["c"], False)
