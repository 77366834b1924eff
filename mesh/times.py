"""Times: aware UTC datetimes inside, google.protobuf.Timestamp outside.

MongoDB keeps milliseconds; `now` is cut to them, so that what was written is what is read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf import timestamp_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Returns the time, aware, in UTC, whole milliseconds."""
    return to_milliseconds(datetime.now(UTC))


def to_milliseconds(moment: datetime) -> datetime:
    """Cuts a time to whole milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    """Turns an aware datetime into a Timestamp."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def from_timestamp(stamp: timestamp_pb2.Timestamp) -> datetime:
    """Turns a Timestamp into an aware UTC datetime of whole milliseconds.

    Raises:
        ValueError: The Timestamp lies outside of the years 1 to 9999 or its nanos are out of range.
    """
    if not 0 <= stamp.nanos < 1_000_000_000:
        raise ValueError("nanos must be from 0 to 999,999,999")
    try:
        return _EPOCH + timedelta(seconds=stamp.seconds, milliseconds=stamp.nanos // 1_000_000)
    except OverflowError as error:
        raise ValueError("seconds must lie in the years 1 to 9999") from error


def unix_seconds(moment: datetime) -> float:
    """Returns the seconds since 1970-01-01 UTC."""
    return (moment - _EPOCH).total_seconds()
