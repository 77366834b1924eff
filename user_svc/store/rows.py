"""Rows of the collections as values of the domain."""

from __future__ import annotations

from typing import Any

from mesh.mongo.client import Document
from user_svc.domain import (
    Account,
    Cause,
    Change,
    Channel,
    Preferences,
    Profile,
    TopicPreference,
    email_key,
)
from user_svc.service.ports import Creation


def to_row(account: Account) -> Document:
    """Returns a row of `users`."""
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


def to_account(row: Document) -> Account:
    """Reads a row of `users`."""
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


def creation_key(caller: str, request_id: str) -> str:
    """Returns the id of a row of `creations`.

    The last line break parts the two: a request id has none, whatever an issuer calls its subjects.
    """
    return f"{caller}\n{request_id}"


def creation_row(creation: Creation) -> Document:
    """Returns a row of `creations` for one whose result is there."""
    assert creation.account is not None, "a new creation has a result"
    return {
        "_id": creation_key(creation.caller, creation.request_id),
        "user_id": creation.account.user_id,
        "fingerprint": creation.fingerprint,
        "account": to_row(creation.account),
    }


def to_creation(row: Document) -> Creation:
    """Reads a row of `creations`."""
    caller, _, request_id = row["_id"].rpartition("\n")
    account = row.get("account")
    return Creation(
        caller=caller,
        request_id=request_id,
        fingerprint=row.get("fingerprint", ""),
        account=None if account is None else to_account(account),
    )


def change_row(change: Change) -> Document:
    """Returns a row of `user_changes`."""
    cause = change.cause
    return {
        "_id": f"{change.user_id}/{change.version:012d}",
        "user_id": change.user_id,
        "version": change.version,
        "time": change.moment,
        "actor": cause.actor,
        "method": cause.method,
        "fields": list(change.fields),
        "etag": change.etag,
        "request_id": cause.request_id,
        "trace_id": cause.trace_id,
    }


def to_change(row: Document) -> Change:
    """Reads a row of `user_changes`."""
    return Change(
        user_id=row["user_id"],
        version=row["version"],
        moment=row["time"],
        cause=Cause(row["actor"], row["method"], row["request_id"], row["trace_id"]),
        fields=tuple(row["fields"]),
        etag=row["etag"],
    )
