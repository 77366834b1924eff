"""Events as records: what one service writes another reads, and poison is told apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import descriptor
from hypothesis import given
from hypothesis import strategies as st
from marquee.events.v1 import events_pb2
from marquee.user.v1 import user_pb2
from opentelemetry.sdk.trace import TracerProvider

from mesh.events import Event, UndecodableEventError, from_record, new_event, to_record
from mesh.kafka import topics
from mesh.kafka.record import IncomingRecord, OutgoingRecord
from mesh.times import to_milliseconds

MESSAGES = {
    events_pb2.UserChanged: topics.USER_EVENTS,
    events_pb2.UserDeleted: topics.USER_EVENTS,
    events_pb2.InteractionRecorded: topics.INTERACTION_EVENTS,
    events_pb2.MovieChanged: topics.CATALOG_EVENTS,
    events_pb2.ModelPromoted: topics.MODEL_EVENTS,
    events_pb2.RecommendationListChanged: topics.RECOMMENDATION_EVENTS,
}
IDS = st.from_regex(r"[A-Za-z0-9._~-]{1,128}", fullmatch=True)


def received(record: OutgoingRecord, offset: int = 7, **changes: Any) -> IncomingRecord:
    fields = {
        "topic": record.topic,
        "partition": 0,
        "offset": offset,
        "key": record.key,
        "value": record.value,
        "headers": dict(record.headers),
        "timestamp_ms": 0,
        **changes,
    }
    return IncomingRecord(**fields)


def example() -> OutgoingRecord:
    user = user_pb2.User(id="u1", display_name="Ann")
    return to_record(new_event("/test", "u1", 3, events_pb2.UserChanged(user=user, version=3)))


def test_every_event_of_the_contracts_has_a_topic() -> None:
    declared = {
        name
        for name, message in events_pb2.DESCRIPTOR.message_types_by_name.items()
        if not _is_part_of_another(message)
    }
    assert declared == {kind.DESCRIPTOR.name for kind in MESSAGES}
    for kind, topic in MESSAGES.items():
        assert new_event("/test", "a", 1, kind()).topic == topic


def _is_part_of_another(message: descriptor.Descriptor) -> bool:
    return any(
        field.message_type is message
        for other in events_pb2.DESCRIPTOR.message_types_by_name.values()
        for field in other.fields
    )


@given(
    st.sampled_from(sorted(MESSAGES, key=lambda kind: kind.__name__)),
    IDS,
    IDS,
    st.datetimes(timezones=st.just(UTC)),
    st.integers(0, 2**62),
)
def test_an_event_survives_the_wire(
    kind: Any, event_id: str, subject: str, time: datetime, offset: int
) -> None:
    event = Event(event_id, "/test", subject, to_milliseconds(time), 5, kind(), "")
    record = to_record(event)
    assert record.key == subject.encode()
    assert record.topic == MESSAGES[kind]
    found = from_record(received(record, offset))
    assert found == Event(event_id, "/test", subject, event.time, offset, event.message, "")
    assert found.type == kind.DESCRIPTOR.full_name


def test_headers_are_those_of_cloudevents() -> None:
    headers = dict(example().headers)
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"marquee.events.v1.UserChanged"
    assert headers["ce_source"] == b"/test"
    assert headers["ce_subject"] == b"u1"
    assert headers["content-type"] == b"application/protobuf"
    assert datetime.fromisoformat(headers["ce_time"].decode()).utcoffset() is not None
    assert "traceparent" not in headers, "there was no span"


def test_the_cause_is_kept() -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("cause") as cause:
        event = new_event("/test", "u1", 1, events_pb2.UserChanged())
    trace_id = format(cause.get_span_context().trace_id, "032x")
    assert event.traceparent.split("-")[1] == trace_id
    assert from_record(received(to_record(event))).traceparent == event.traceparent


@pytest.mark.parametrize(
    "changes",
    [
        {"value": None},
        {"value": b"\xff\xff\xff"},
        {"value": b"\x0a\x03\x0a\x01\xff"},  # a string that is not UTF-8
        {"topic": topics.MODEL_EVENTS},
        {"topic": "marquee.unknown"},
        {"headers": {}},
    ],
    ids=["null", "no message", "no text", "another topic", "unknown topic", "no headers"],
)
def test_poison(changes: dict[str, Any]) -> None:
    with pytest.raises(UndecodableEventError):
        from_record(received(example(), **changes))


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_source", "ce_subject", "ce_time"])
@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe"])
def test_a_header_that_is_missing_or_no_text(name: str, value: bytes | None) -> None:
    headers = dict(example().headers)
    del headers[name]
    if value is not None:
        headers[name] = value
    with pytest.raises(UndecodableEventError):
        from_record(received(example(), headers=headers))


@pytest.mark.parametrize(
    "time",
    [
        "yesterday",
        "2026-11-22T10:00:00",  # without an offset it may be any hour
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-13-01T00:00:00Z",
    ],
)
def test_a_time_that_is_none(time: str) -> None:
    headers = {**dict(example().headers), "ce_time": time.encode()}
    with pytest.raises(UndecodableEventError, match="ce_time"):
        from_record(received(example(), headers=headers))


def test_a_time_of_another_zone_is_read_as_utc() -> None:
    headers = {**dict(example().headers), "ce_time": b"2026-11-22T10:00:00.123456+02:00"}
    event = from_record(received(example(), headers=headers))
    assert event.time == datetime(2026, 11, 22, 8, 0, 0, 123_000, tzinfo=UTC)
    assert event.time.tzinfo is UTC


@pytest.mark.parametrize("traceparent", [b"", b"00-junk", b"00-" + b"0" * 32 + b"-1-01"])
def test_a_malformed_traceparent_is_no_poison(traceparent: bytes) -> None:
    headers = {**dict(example().headers), "traceparent": traceparent}
    assert from_record(received(example(), headers=headers)).traceparent == traceparent.decode()


@given(
    st.binary(max_size=60),
    st.dictionaries(
        st.sampled_from(["ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "traceparent"]),
        st.one_of(st.binary(max_size=40), st.just(b"marquee.events.v1.UserChanged")),
    ),
    st.booleans(),
)
def test_no_record_raises_anything_else(
    value: bytes, headers: dict[str, bytes], sound: bool
) -> None:
    base = dict(example().headers) if sound else {}
    try:
        from_record(received(example(), value=value, headers={**base, **headers}))
    except UndecodableEventError as error:
        assert str(error)  # noqa: PT017  # either outcome is right
