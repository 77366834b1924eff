"""Times go in and out without loss, and none can break a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf import timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from mesh.times import from_timestamp, now, to_milliseconds, to_timestamp, unix_seconds

AWARE = st.datetimes(
    min_value=datetime(1, 1, 2),
    max_value=datetime(9999, 12, 30),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)


@given(AWARE)
def test_a_time_survives_the_wire(moment: datetime) -> None:
    found = from_timestamp(to_timestamp(moment))
    assert found == to_milliseconds(moment)
    assert found.utcoffset() == timedelta(0)
    assert found.microsecond % 1000 == 0


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_timestamp_is_read_or_refused(seconds: int, nanos: int) -> None:
    stamp = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)
    valid = -62_135_596_800 <= seconds <= 253_402_300_799 and 0 <= nanos < 1_000_000_000
    if valid:
        assert to_timestamp(from_timestamp(stamp)).seconds == seconds
    else:
        with pytest.raises(ValueError, match="must"):
            from_timestamp(stamp)


@pytest.mark.parametrize("seconds", [-62_135_596_800, 253_402_300_799])
def test_the_first_and_the_last(seconds: int) -> None:
    stamp = timestamp_pb2.Timestamp(seconds=seconds, nanos=999_999_999)
    assert to_timestamp(from_timestamp(stamp)).seconds == seconds


def test_now_is_aware_and_in_whole_milliseconds() -> None:
    moment = now()
    assert moment.utcoffset() == timedelta(0)
    assert moment.microsecond % 1000 == 0
    assert unix_seconds(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400
