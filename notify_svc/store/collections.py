"""The collections, and their rows as values of the domain."""

from __future__ import annotations

from pymongo import IndexModel

from mesh.mongo.client import Document
from mesh.mongo.migrations import CollectionSpec, object_schema
from notify_svc.domain import Channel, Delivery, Notification, Outcome, Recipient

DATABASE = "marquee_notify"
RECIPIENTS = "recipients"
NOTIFICATIONS = "notifications"
DELIVERIES = "deliveries"
_NUMBER = ["int", "long"]

SPECS = (
    # One row a person: the read model, and the counter of their sequence numbers. Every write that
    # concerns a person touches it, so that such writes come one after the other.
    CollectionSpec(
        RECIPIENTS,
        object_schema(
            {"_id": "string", "version": _NUMBER, "last_sequence": _NUMBER},
            display_name="string",
            locale="string",
            muted="array",
            deleted="bool",
        ),
    ),
    CollectionSpec(
        NOTIFICATIONS,
        object_schema(
            {
                "_id": "string",
                "user_id": "string",
                "sequence": _NUMBER,
                "topic": "string",
                "title": "string",
                "body": "string",
                "movie_ids": "array",
                "create_time": "date",
                "read_time": ["date", "null"],
                "listed": "bool",
                "streamed": "bool",
                "traceparent": "string",
            }
        ),
        (
            IndexModel([("user_id", 1), ("sequence", -1)], name="inbox", unique=True),
            IndexModel(
                [("user_id", 1), ("listed", 1), ("read_time", 1), ("sequence", -1)], name="unread"
            ),
        ),
    ),
    CollectionSpec(
        DELIVERIES,
        object_schema(
            {
                "_id": "string",
                "event_id": "string",
                "user_id": "string",
                "channel": "string",
                "outcome": "string",
                "notification_id": "string",
                "create_time": "date",
            }
        ),
        (IndexModel([("user_id", 1)], name="user"),),
    ),
)


def to_recipient(row: Document) -> Recipient:
    """Reads a row of `recipients`."""
    return Recipient(
        user_id=row["_id"],
        version=row["version"],
        display_name=row.get("display_name", ""),
        locale=row.get("locale", ""),
        muted={
            entry["topic"]: frozenset(Channel(name) for name in entry["channels"])
            for entry in row.get("muted", ())
        },
        deleted=row.get("deleted", False),
    )


def recipient_fields(recipient: Recipient) -> Document:
    """Returns what a row of `recipients` says of a person, without id and counter."""
    return {
        "version": recipient.version,
        "display_name": recipient.display_name,
        "locale": recipient.locale,
        "muted": [
            {"topic": topic, "channels": sorted(channel.value for channel in channels)}
            for topic, channels in recipient.muted.items()
        ],
        "deleted": recipient.deleted,
    }


def notification_row(notification: Notification, sequence: int) -> Document:
    """Returns a row of `notifications`."""
    return {
        "_id": notification.id,
        "user_id": notification.user_id,
        "sequence": sequence,
        "topic": notification.topic,
        "title": notification.title,
        "body": notification.body,
        "movie_ids": list(notification.movie_ids),
        "create_time": notification.create_time,
        "read_time": notification.read_time,
        "listed": notification.listed,
        "streamed": notification.streamed,
        "traceparent": notification.traceparent,
    }


def to_notification(row: Document) -> Notification:
    """Reads a row of `notifications`."""
    return Notification(
        id=row["_id"],
        user_id=row["user_id"],
        topic=row["topic"],
        title=row["title"],
        body=row["body"],
        movie_ids=tuple(row["movie_ids"]),
        create_time=row["create_time"],
        listed=row["listed"],
        streamed=row["streamed"],
        traceparent=row["traceparent"],
        sequence=row["sequence"],
        read_time=row["read_time"],
    )


def delivery_row(delivery: Delivery) -> Document:
    """Returns a row of `deliveries`."""
    return {
        "_id": delivery.id,
        "event_id": delivery.event_id,
        "user_id": delivery.user_id,
        "channel": delivery.channel.value,
        "outcome": delivery.outcome.value,
        "notification_id": delivery.notification_id,
        "create_time": delivery.create_time,
    }


def to_delivery(row: Document) -> Delivery:
    """Reads a row of `deliveries`."""
    return Delivery(
        id=row["_id"],
        event_id=row["event_id"],
        user_id=row["user_id"],
        channel=Channel(row["channel"]),
        outcome=Outcome(row["outcome"]),
        notification_id=row["notification_id"],
        create_time=row["create_time"],
    )
