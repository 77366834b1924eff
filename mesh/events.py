"""Events: Protobuf messages in Kafka records, described by CloudEvents headers.

The binary content mode of the CloudEvents Kafka protocol binding, with the W3C trace context of
the event's cause in `traceparent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.message import DecodeError, Message
from marquee.events.v1 import events_pb2

from mesh.ids import new_id
from mesh.kafka import topics
from mesh.kafka.record import IncomingRecord, OutgoingRecord
from mesh.telemetry.context import TRACEPARENT, current_traceparent
from mesh.times import now, to_milliseconds

_TOPIC_OF: Mapping[type[Message], str] = {
    events_pb2.UserChanged: topics.USER_EVENTS,
    events_pb2.UserDeleted: topics.USER_EVENTS,
    events_pb2.InteractionRecorded: topics.INTERACTION_EVENTS,
    events_pb2.MovieChanged: topics.CATALOG_EVENTS,
    events_pb2.ModelPromoted: topics.MODEL_EVENTS,
    events_pb2.RecommendationListChanged: topics.RECOMMENDATION_EVENTS,
}
_TYPES: Mapping[str, type[Message]] = {kind.DESCRIPTOR.full_name: kind for kind in _TOPIC_OF}
_CONTENT_TYPE = b"application/protobuf"


class UndecodableEventError(Exception):
    """A record is not an event of the contracts; trying again cannot help."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, on its way to or from Kafka.

    Attributes:
        id: Unique; a consumer that sees it twice must act once.
        source: The service that says so, for example `/marquee/reco`.
        subject: The aggregate it is about; the key of the record.
        time: When it happened, aware, UTC, whole milliseconds.
        sequence: Grows within one subject and topic; the relay keeps that order.
        message: The Protobuf message of `marquee.events.v1`.
        traceparent: The trace context of its cause; may be empty.
    """

    id: str
    source: str
    subject: str
    time: datetime
    sequence: int
    message: Message
    traceparent: str

    @property
    def topic(self) -> str:
        """The topic it belongs to."""
        return _TOPIC_OF[type(self.message)]

    @property
    def type(self) -> str:
        """The full name of its message."""
        return str(self.message.DESCRIPTOR.full_name)


def new_event(source: str, subject: str, sequence: int, message: Message) -> Event:
    """Makes an event that happens now, caused by the current span."""
    return Event(
        id=new_id(),
        source=source,
        subject=subject,
        time=now(),
        sequence=sequence,
        message=message,
        traceparent=current_traceparent(),
    )


def to_record(event: Event) -> OutgoingRecord:
    """Encodes an event."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", event.source.encode()),
        ("ce_subject", event.subject.encode()),
        ("ce_time", event.time.isoformat().encode()),
        ("content-type", _CONTENT_TYPE),
    ]
    if event.traceparent:
        headers.append((TRACEPARENT, event.traceparent.encode()))
    return OutgoingRecord(
        topic=event.topic,
        key=event.subject.encode(),
        value=event.message.SerializeToString(),
        headers=tuple(headers),
    )


def from_record(record: IncomingRecord) -> Event:
    """Decodes an event.

    Raises:
        UndecodableEventError: A header is missing or wrong, the type is unknown or does not belong
            to the topic, or the value is not such a message.
    """
    type_name = _header(record, "ce_type")
    kind = _TYPES.get(type_name)
    if kind is None:
        raise UndecodableEventError(f"unknown type {type_name[:100]!r}")
    if record.topic != _TOPIC_OF[kind]:
        raise UndecodableEventError(f"{kind.DESCRIPTOR.full_name} does not belong to this topic")
    if record.value is None:
        raise UndecodableEventError("the value is null")
    try:
        message = kind.FromString(record.value)
    except DecodeError as error:
        raise UndecodableEventError(f"DecodeError: {error}") from error
    return Event(
        id=_header(record, "ce_id"),
        source=_header(record, "ce_source"),
        subject=_header(record, "ce_subject"),
        time=_time(_header(record, "ce_time")),
        sequence=record.offset,
        message=message,
        traceparent=_text(record.headers.get(TRACEPARENT, b"")),
    )


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no offset from UTC")
        return to_milliseconds(moment.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise UndecodableEventError(f"header ce_time: {error}") from error


def _header(record: IncomingRecord, name: str) -> str:
    value = record.headers.get(name)
    if not value:
        raise UndecodableEventError(f"header {name} is missing")
    return _text(value)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UndecodableEventError("a header is not UTF-8") from error
