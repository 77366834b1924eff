"""The audit trail: who changed what, without the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from user_svc.domain.accounts import (
    PREFERENCE_FIELDS,
    USER_FIELDS,
    Account,
    Preferences,
    Profile,
)


@dataclass(frozen=True, slots=True)
class Cause:
    """The call that changes something.

    Attributes:
        actor: The subject of the caller's token.
        method: The name of the RPC.
        request_id: The request id that the caller gave; may be empty.
        trace_id: The trace of the call; may be empty.
    """

    actor: str
    method: str
    request_id: str = ""
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """That something of a user was changed.

    Attributes:
        user_id: Who was changed.
        version: The version of the account that it made.
        moment: When.
        cause: By whom and how.
        fields: The fields whose values became others.
        etag: The etag that it made; empty after a deletion.
    """

    user_id: str
    version: int
    moment: datetime
    cause: Cause
    fields: tuple[str, ...]
    etag: str


def creation_of(account: Account, cause: Cause) -> Change:
    """Returns the entry of a new account; its fields are those that were given a value."""
    return Change(
        user_id=account.user_id,
        version=account.version,
        moment=account.profile_time,
        cause=cause,
        fields=_profile_differences(Profile(display_name=""), account.profile),
        etag=account.profile_etag,
    )


def change_of_profile(before: Account, after: Account, cause: Cause) -> Change:
    """Returns the entry of a changed profile."""
    return Change(
        user_id=after.user_id,
        version=after.version,
        moment=after.profile_time,
        cause=cause,
        fields=_profile_differences(before.profile, after.profile),
        etag=after.profile_etag,
    )


def change_of_preferences(before: Account, after: Account, cause: Cause) -> Change:
    """Returns the entry of changed preferences."""
    assert after.preferences_time is not None, "they have just changed"
    return Change(
        user_id=after.user_id,
        version=after.version,
        moment=after.preferences_time,
        cause=cause,
        fields=_preference_differences(before.preferences, after.preferences),
        etag=after.preferences_etag,
    )


def deletion_of(account: Account, cause: Cause, moment: datetime) -> Change:
    """Returns the entry of a deletion: that it happened, when, and who did it.

    It outlasts the person, so that nothing leads from it to other data: neither a request id, which
    callers choose, nor a trace.
    """
    return Change(
        user_id=account.user_id,
        version=account.version + 1,
        moment=moment,
        cause=replace(cause, request_id="", trace_id=""),
        fields=(),
        etag="",
    )


def _profile_differences(before: Profile, after: Profile) -> tuple[str, ...]:
    plain = [
        name
        for name in USER_FIELDS
        if name != "attributes" and getattr(before, name) != getattr(after, name)
    ]
    keys = _different_keys(before.attributes, after.attributes)
    return (*plain, *(f"attributes.{key}" for key in keys))


def _different_keys(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(key for key in {*before, *after} if before.get(key) != after.get(key))


def _preference_differences(before: Preferences, after: Preferences) -> tuple[str, ...]:
    return tuple(
        f"preferences.{name}"
        for name in PREFERENCE_FIELDS
        if getattr(before, name) != getattr(after, name)
    )
