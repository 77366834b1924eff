"""Notifications: what is told, to whom, and on which channels."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

RECOMMENDATIONS = "recommendations"


class Channel(enum.StrEnum):
    """A way to reach a person."""

    INBOX = "inbox"
    STREAM = "stream"


class Outcome(enum.StrEnum):
    """What became of a delivery.

    DELIVERED means for the inbox that the notification is listed, and for the stream that it is
    there for every device that subscribes; which devices took it is not recorded.
    """

    DELIVERED = "delivered"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True)
class Recipient:
    """What the service knows of a person, from the events of the user service.

    Attributes:
        user_id: The person.
        version: The version of the user's newest event; 0: none was seen.
        display_name: How to address them; may be empty.
        locale: A BCP 47 language tag; may be empty.
        muted: The channels that are off, by topic.
        deleted: Whether the user is deleted: then nothing is told.
    """

    user_id: str
    version: int = 0
    display_name: str = ""
    locale: str = ""
    muted: Mapping[str, frozenset[Channel]] = field(default_factory=dict)
    deleted: bool = False

    def wants(self, topic: str, channel: Channel) -> bool:
        """Tells whether the person wants to hear of a topic on a channel."""
        return not self.deleted and channel not in self.muted.get(topic, frozenset())


@dataclass(frozen=True, slots=True)
class HeldRecipient:
    """What is held on a person beside what they are told, with their newest sequence number."""

    recipient: Recipient
    last_sequence: int


@dataclass(frozen=True, slots=True)
class NamedMovie:
    """A movie, with what it takes to tell of it.

    Attributes:
        movie_id: The movie.
        title: Its title.
        because: Titles of watched movies that speak for it, most first.
    """

    movie_id: str
    title: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListChange:
    """A person's recommendations have changed enough to tell them.

    Attributes:
        event_id: The event that says so.
        user_id: Whose.
        movies: The movies that are new on the list, best first.
    """

    event_id: str
    user_id: str
    movies: tuple[NamedMovie, ...]


@dataclass(frozen=True, slots=True)
class Notification:
    """Something a person is told.

    Attributes:
        id: Follows from the event and the person.
        user_id: Whom it is for.
        topic: What it is about.
        title: One line.
        body: The text.
        movie_ids: Movies it names.
        create_time: When it was planned.
        listed: Whether the inbox shows it.
        streamed: Whether subscribers are sent it.
        traceparent: The trace context of its planning; may be empty.
        sequence: Its place among all of this person's notifications, from 1; 0: not stored yet.
        read_time: When it was marked as read; None while unread.
    """

    id: str
    user_id: str
    topic: str
    title: str
    body: str
    movie_ids: tuple[str, ...]
    create_time: datetime
    listed: bool
    streamed: bool
    traceparent: str = ""
    sequence: int = 0
    read_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What becomes of an event for one person on one channel.

    Attributes:
        id: Follows from the event, the person and the channel.
        event_id: The event.
        user_id: The person.
        channel: The channel.
        outcome: What became of it.
        notification_id: What was delivered, or would have been.
        create_time: When it was decided.
    """

    id: str
    event_id: str
    user_id: str
    channel: Channel
    outcome: Outcome
    notification_id: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """What an event leads to for one person; committed as one.

    Attributes:
        deliveries: One per channel.
        notification: None if every channel is muted.
    """

    deliveries: tuple[Delivery, ...]
    notification: Notification | None


def notification_id(event_id: str, user_id: str) -> str:
    """Returns the id that an event's notification to a person always has."""
    return _digest("notification", event_id, user_id)


def delivery_id(event_id: str, user_id: str, channel: Channel) -> str:
    """Returns the id that an event's delivery to a person on a channel always has."""
    return _digest("delivery", event_id, user_id, channel.value)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
