"""Requests for pages: their filters, and the tokens that name where they go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf import timestamp_pb2
from marquee.user.v1 import user_service_pb2 as pb

from mesh.ids import is_id
from mesh.pages import decode_page_token, encode_page_token
from mesh.times import from_timestamp, unix_seconds
from mesh.validation import Violations
from user_svc.domain import Position, UserFilter, is_email, is_time_zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_filter(check: Violations, message: pb.UserFilter) -> UserFilter:
    """Reads `request.filter`; what is wrong with it is noted in `check`."""
    if message.id_prefix and not is_id(message.id_prefix):
        check.add("filter.id_prefix", "is no beginning of an id")
    if message.email and not is_email(message.email):
        check.add("filter.email", "does not have the form of an email address")
    if message.locale:
        check.language("filter.locale", message.locale)
    if message.time_zone and not is_time_zone(message.time_zone):
        check.add("filter.time_zone", "is not an IANA time zone")
    created_from = created_before = None
    if message.HasField("create_time_from"):
        created_from = _time(check, "filter.create_time_from", message.create_time_from)
    if message.HasField("create_time_before"):
        created_before = _time(check, "filter.create_time_before", message.create_time_before)
    if created_from and created_before and created_from >= created_before:
        check.add("filter.create_time_before", "must be later than create_time_from")
    return UserFilter(
        id_prefix=message.id_prefix,
        email=message.email,
        locale=message.locale,
        time_zone=message.time_zone,
        created_from=created_from,
        created_before=created_before,
    )


def read_position(check: Violations, wanted: UserFilter, token: str) -> Position | None:
    """Reads the page token of a listing with this filter; that of another one is refused."""
    if not token:
        return None
    with check.gather():
        user_id, milliseconds = decode_page_token(_listing(wanted), token, shape=[str, int])
        try:
            return Position(str(user_id), _EPOCH + timedelta(milliseconds=int(milliseconds)))
        except OverflowError:
            check.add("page_token", "is malformed or belongs to another listing")
    return None


def position_token(wanted: UserFilter, position: Position) -> str:
    """Makes the page token of a listing with this filter that goes on behind a position."""
    milliseconds = round(unix_seconds(position.create_time) * 1000)
    return encode_page_token(_listing(wanted), [position.user_id, milliseconds])


def read_version(check: Violations, user_id: str, token: str) -> int | None:
    """Reads the page token of a user's audit trail."""
    if not token:
        return None
    with check.gather():
        (version,) = decode_page_token(_trail(user_id), token, shape=[int])
        return int(version)
    return None


def version_token(user_id: str, version: int) -> str:
    """Makes the page token of a user's audit trail that goes on under a version."""
    return encode_page_token(_trail(user_id), [version])


def _listing(wanted: UserFilter) -> str:
    return f"users:{wanted.name}"


def _trail(user_id: str) -> str:
    return f"user_changes:{user_id}"


def _time(check: Violations, field: str, stamp: timestamp_pb2.Timestamp) -> datetime | None:
    try:
        return from_timestamp(stamp)
    except ValueError:
        check.add(field, "is not a time of the years 1 to 9999")
    return None
