"""What tokens may be used for, by the names of the contracts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, cast

from marquee.options.v1 import policy_pb2

from cli.errors import CliError
from mesh.contracts import scope_name

ALL: Final = tuple(
    scope_name(cast(policy_pb2.Scope, number))
    for number in policy_pb2.Scope.values()
    if number != policy_pb2.SCOPE_UNSPECIFIED
)
"""Every scope there is."""

PERSON: Final = tuple(
    scope_name(scope)
    for scope in (
        policy_pb2.SCOPE_USERS_READ,
        policy_pb2.SCOPE_USERS_WRITE,
        policy_pb2.SCOPE_USERS_EXPORT,
        policy_pb2.SCOPE_CATALOG_READ,
        policy_pb2.SCOPE_INTERACTIONS_READ,
        policy_pb2.SCOPE_INTERACTIONS_WRITE,
        policy_pb2.SCOPE_RECOMMENDATIONS_READ,
        policy_pb2.SCOPE_NOTIFICATIONS_READ,
        policy_pb2.SCOPE_NOTIFICATIONS_WRITE,
    )
)
"""Everything that a person does with their own data."""

SERVICE: Final = (*PERSON, scope_name(policy_pb2.SCOPE_SUBJECTS_ANY))
"""The same for anybody's data, as a backend does it that acts for its users."""


def checked_scopes(names: Iterable[str], known: Collection[str] = ALL) -> tuple[str, ...]:
    """Returns scopes as they were given.

    Raises:
        CliError: The contracts know one of them not.
    """
    wanted = tuple(names)
    for name in wanted:
        if name not in known:
            raise CliError(f"there is no scope {name!r}: choose among {', '.join(known)}")
    return wanted
