"""People and their preferences: values and the rules that hold for their changes."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from mesh.errors import FieldViolation, InvalidArgument, StaleEtag

USER_FIELDS = ("display_name", "email", "locale", "time_zone", "attributes")
PREFERENCE_FIELDS = ("liked_genres", "disliked_genres", "languages", "topics")
MAX_ATTRIBUTES = 64
_ATTRIBUTE_PREFIX = "attributes."


class Channel(enum.StrEnum):
    """A way to reach a person."""

    INBOX = "inbox"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a caller may say about a person.

    Attributes:
        display_name: The name shown to others.
        email: An address, unique among all users without regard to case, or empty.
        locale: A BCP 47 language tag, or empty.
        time_zone: An IANA time zone, or empty.
        attributes: Free entries of the application.
    """

    display_name: str
    email: str = ""
    locale: str = ""
    time_zone: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicPreference:
    """The channels on which a person does not want to hear of a topic."""

    topic: str
    muted_channels: tuple[Channel, ...] = ()


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person likes, and how they want to be told about it.

    Attributes:
        liked_genres: Genres to favour.
        disliked_genres: Genres to avoid; none of the liked ones.
        languages: BCP 47 languages the person understands.
        topics: Muted channels, each topic at most once.
    """

    liked_genres: tuple[str, ...] = ()
    disliked_genres: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    topics: tuple[TopicPreference, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """A person with their preferences: what is stored, versioned and announced as one.

    Profile and preferences have etags of their own, so that a change of one does not refuse a
    change of the other.

    Attributes:
        user_id: Never changes.
        profile: Who they are.
        preferences: What they like.
        version: Grows by one with every change, across deletion and re-creation of the same id.
        profile_version: The version in which the profile last changed.
        preferences_version: The version in which the preferences last changed.
        create_time: When the user was created.
        profile_time: When the profile last changed.
        preferences_time: When the preferences last changed; None: never since the creation.
    """

    user_id: str
    profile: Profile
    preferences: Preferences
    version: int
    profile_version: int
    preferences_version: int
    create_time: datetime
    profile_time: datetime
    preferences_time: datetime | None = None

    @property
    def profile_etag(self) -> str:
        """The etag of the user, as in `User.etag`."""
        return _etag("user", self.user_id, self.profile_version)

    @property
    def preferences_etag(self) -> str:
        """The etag of the preferences, as in `Preferences.etag`."""
        return _etag("preferences", self.user_id, self.preferences_version)


def open_account(user_id: str, profile: Profile, *, last_version: int, moment: datetime) -> Account:
    """Makes the account of a new user.

    Args:
        user_id: The id.
        profile: Who they are.
        last_version: The version at which an earlier user of that id was deleted, or 0.
        moment: Now.
    """
    version = last_version + 1
    return Account(
        user_id=user_id,
        profile=profile,
        preferences=Preferences(),
        version=version,
        profile_version=version,
        preferences_version=version,
        create_time=moment,
        profile_time=moment,
    )


def change_profile(
    account: Account, values: Profile, fields: Iterable[str], *, etag: str, moment: datetime
) -> Account:
    """Takes the named fields from `values`.

    Args:
        account: The account as stored.
        values: New values; those of fields that are not named are ignored.
        fields: Some of `USER_FIELDS`, or `attributes.<key>` for single attributes: one that
            `values` lacks is removed.
        etag: What the caller believes to change; empty: whatever there is.
        moment: Now.

    Raises:
        StaleEtag: The profile has changed since the caller read it.
        InvalidArgument: There would be too many attributes.
    """
    require_profile_etag(account, etag)
    version = account.version + 1
    names = set(fields)
    changes = {name: getattr(values, name) for name in names & set(USER_FIELDS)}
    if "attributes" not in names:
        keys = [key for key in map(attribute_key, names) if key]
        changes["attributes"] = _merged(account.profile.attributes, values.attributes, keys)
    return replace(
        account,
        profile=replace(account.profile, **changes),
        version=version,
        profile_version=version,
        profile_time=moment,
    )


def attribute_key(path: str) -> str:
    """Returns the key in a path `attributes.<key>`, or an empty text if it is no such path."""
    return path.removeprefix(_ATTRIBUTE_PREFIX) if path.startswith(_ATTRIBUTE_PREFIX) else ""


def _merged(
    stored: Mapping[str, str], values: Mapping[str, str], keys: Iterable[str]
) -> Mapping[str, str]:
    named = set(keys)
    merged = {key: value for key, value in stored.items() if key not in named}
    merged |= {key: values[key] for key in named if key in values}
    if len(merged) > MAX_ATTRIBUTES:
        raise InvalidArgument(
            [FieldViolation("user.attributes", f"would be {len(merged)}, over {MAX_ATTRIBUTES}")]
        )
    return merged


def require_profile_etag(account: Account, etag: str) -> None:
    """Checks an etag if one is given.

    Raises:
        StaleEtag: The profile has changed since the caller read it.
    """
    if etag and etag != account.profile_etag:
        raise StaleEtag("user", account.user_id)


def change_preferences(
    account: Account, values: Preferences, fields: Iterable[str], *, etag: str, moment: datetime
) -> Account:
    """Takes the named fields from `values`; see `change_profile`.

    Raises:
        StaleEtag: The preferences have changed since the caller read them.
        InvalidArgument: A genre would be liked and disliked at once.
    """
    if etag and etag != account.preferences_etag:
        raise StaleEtag("preferences", account.user_id)
    changes = {name: getattr(values, name) for name in fields}
    preferences = replace(account.preferences, **changes)
    both = set(preferences.liked_genres) & set(preferences.disliked_genres)
    if both:
        culprit = "disliked_genres" if "disliked_genres" in changes else "liked_genres"
        # By their places, since proxies copy messages into their traces.
        places = (getattr(values, culprit).index(genre) for genre in both)
        raise InvalidArgument(
            [
                FieldViolation(f"preferences.{culprit}[{place}]", "is liked and disliked at once")
                for place in sorted(places)
            ]
        )
    version = account.version + 1
    return replace(
        account,
        preferences=preferences,
        version=version,
        preferences_version=version,
        preferences_time=moment,
    )


def fingerprint(user_id: str, profile: Profile) -> str:
    """Returns a digest of what a creation asks for; two requests with the same one are the same."""
    parts = [user_id, profile.display_name, profile.email, profile.locale, profile.time_zone]
    for entry in sorted(profile.attributes.items()):
        parts.extend(entry)
    # Lengths keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()


def _etag(kind: str, user_id: str, version: int) -> str:
    return hashlib.blake2b(f"{kind}\0{user_id}\0{version}".encode(), digest_size=9).hexdigest()
