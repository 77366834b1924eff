"""What the use cases need of the world, as protocols; the adapters fulfil them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from user_svc.domain import Account, Change, Page, Position, UserFilter

ResultT = TypeVar("ResultT")
RecordT_co = TypeVar("RecordT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Creation:
    """What a request id has done.

    Attributes:
        caller: The subject of the token that it came with. Request ids of different callers have
            nothing to do with each other.
        request_id: The caller's.
        fingerprint: What was asked for; empty once the user is deleted.
        account: What was answered; None once the user is deleted.
    """

    caller: str
    request_id: str
    fingerprint: str
    account: Account | None


class Changes(Protocol):
    """What one transaction may read and write; every write announces itself and leaves a trail."""

    async def account(self, user_id: str) -> Account | None:
        """Returns an account."""

    async def email_owner(self, email: str) -> str | None:
        """Returns the id of the user with that address."""

    async def deleted_version(self, user_id: str) -> int:
        """Returns the version at which that id was last deleted, or 0."""

    async def creation(self, caller: str, request_id: str) -> Creation | None:
        """Returns what a request id of a caller has done."""

    async def remember(self, creation: Creation) -> None:
        """Keeps what a request id has done."""

    async def add(self, account: Account, change: Change) -> None:
        """Stores a new account, announces it, and notes who did it."""

    async def replace(self, account: Account, change: Change) -> None:
        """Stores a changed account, announces it, and notes who did it."""

    async def remove(self, deletion: Change) -> None:
        """Deletes all that is known of a person, keeps the version and the deletion, announces it.

        The entries of their trail before the deletion go with them.
        """


class Accounts(Protocol):
    """Where accounts are kept."""

    async def get(self, user_id: str) -> Account | None:
        """Returns an account."""

    async def find(self, user_ids: Sequence[str]) -> dict[str, Account]:
        """Returns the accounts found, by id; no id comes twice."""

    async def page(self, wanted: UserFilter, *, after: Position | None, limit: int) -> Page:
        """Returns accounts in the order of the filter.

        Args:
            wanted: Which.
            after: Behind whom to begin; None: with the first.
            limit: How many at most.
        """

    async def trail(self, user_id: str, *, before: int | None, limit: int) -> list[Change]:
        """Returns up to `limit` changes with versions under `before`, the latest first."""

    async def transaction(self, work: Callable[[Changes], Awaitable[ResultT]]) -> ResultT:
        """Commits all that `work` does, or nothing; `work` may run several times."""


class HolderOf(Protocol[RecordT_co]):
    """Somebody who holds something on people.

    Attributes:
        name: Who.
    """

    @property
    def name(self) -> str:
        """Returns who it is."""

    def records(self, user_id: str) -> AsyncGenerator[Sequence[RecordT_co], None]:
        """Yields everything held on a person, in parts; a part that is missing is an error.

        Raises:
            HolderUnavailable: The holder does not answer, or not completely.
        """
