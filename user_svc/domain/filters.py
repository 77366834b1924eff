"""Which users a listing shows, and in which order."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime

from user_svc.domain.accounts import Account
from user_svc.domain.forms import email_key


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a listing: that of a user who is or was there.

    Attributes:
        user_id: The user.
        create_time: When they were created.
    """

    user_id: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Users who match every attribute that is set.

    Attributes:
        id_prefix: The beginning of the id.
        email: The whole address, without regard to case.
        locale: The locale as stored.
        time_zone: The time zone as stored.
        created_from: Created then or later.
        created_before: Created earlier.
    """

    id_prefix: str = ""
    email: str = ""
    locale: str = ""
    time_zone: str = ""
    created_from: datetime | None = None
    created_before: datetime | None = None

    @property
    def by_creation(self) -> bool:
        """Whether users come in the order of their creation, and then of their ids.

        Otherwise they come in the order of their ids. Neither ever changes for a user, so that a
        listing can go on behind any of them.
        """
        return self.created_from is not None or self.created_before is not None

    @property
    def name(self) -> str:
        """A text that no other filter has."""
        return repr(astuple(self))

    def matches(self, account: Account) -> bool:
        """Tells whether a user is to be shown."""
        profile = account.profile
        return (
            account.user_id.startswith(self.id_prefix)
            and (not self.email or email_key(self.email) == email_key(profile.email))
            and self.locale in {"", profile.locale}
            and self.time_zone in {"", profile.time_zone}
            and (self.created_from is None or account.create_time >= self.created_from)
            and (self.created_before is None or account.create_time < self.created_before)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing.

    Attributes:
        accounts: Those who match, in order.
        end: The last user who was looked at; None: there is nobody behind them.
    """

    accounts: tuple[Account, ...]
    end: Position | None


def position_of(account: Account) -> Position:
    """Returns the place of a user in every listing."""
    return Position(account.user_id, account.create_time)
