"""Requests that create and change users: every bad field is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from google.protobuf import field_mask_pb2
from marquee.user.v1 import user_pb2

from mesh.validation import Violations
from user_svc.domain import (
    MAX_ATTRIBUTES,
    USER_FIELDS,
    Profile,
    attribute_key,
    has_controls,
    is_email,
    is_time_zone,
)
from user_svc.requests.texts import check_line

_MAX_NAME = 200
_MAX_ATTRIBUTE_KEY = 128
_MAX_ATTRIBUTE_VALUE = 1024
_MAX_REQUEST_ID = 128


def read_request_id(check: Violations, request_id: str) -> str:
    """Reads a request id; an empty one means that there is none."""
    if len(request_id) <= _MAX_REQUEST_ID and has_controls(request_id):
        check.add("request_id", "must not contain control characters or line breaks")
    check.text("request_id", request_id, maximum=_MAX_REQUEST_ID)
    return request_id


def read_profile(
    check: Violations, user: user_pb2.User, fields: Collection[str] = USER_FIELDS
) -> Profile:
    """Reads the named fields of `request.user`; what is wrong with them is noted in `check`."""
    if "display_name" in fields:
        check_line(check, "user.display_name", user.display_name, maximum=_MAX_NAME)
    if "email" in fields and user.email and not is_email(user.email):
        check.add("user.email", "does not have the form of an email address")
    if "locale" in fields and user.locale:
        check.language("user.locale", user.locale)
    if "time_zone" in fields and user.time_zone and not is_time_zone(user.time_zone):
        check.add("user.time_zone", "is not an IANA time zone")
    check.count("user.attributes", len(user.attributes), maximum=MAX_ATTRIBUTES)
    attributes = {} if len(user.attributes) > MAX_ATTRIBUTES else dict(user.attributes)
    if "attributes" in fields:
        _check_attributes(check, attributes, sorted(attributes))
    else:
        named = {attribute_key(path) for path in fields}
        _check_attributes(check, attributes, sorted(named & set(attributes)))
    return Profile(
        display_name=user.display_name,
        email=user.email,
        locale=user.locale,
        time_zone=user.time_zone,
        attributes=attributes,
    )


def read_profile_mask(check: Violations, mask: field_mask_pb2.FieldMask) -> frozenset[str]:
    """Reads the update mask of UpdateUser.

    Returns:
        Some of `USER_FIELDS`, and `attributes.<key>` for single attributes.
    """
    single = frozenset(path for path in mask.paths if attribute_key(path))
    whole = field_mask_pb2.FieldMask(paths=[path for path in mask.paths if path not in single])
    if not single:
        return check.mask("update_mask", whole, USER_FIELDS)
    check.count("update_mask", len(single), maximum=2 * MAX_ATTRIBUTES)
    if "*" in whole.paths:
        check.add("update_mask", "'*' already names everything; it must stand alone")
        return frozenset()
    return single | (check.mask("update_mask", whole, USER_FIELDS) if whole.paths else frozenset())


def _check_attributes(
    check: Violations, attributes: Mapping[str, str], keys: Collection[str]
) -> None:
    for key in keys:
        name = f"user.attributes[{key[:40]!r}]"
        if not 1 <= len(key) <= _MAX_ATTRIBUTE_KEY:
            check.add(name, f"must have a key of 1 to {_MAX_ATTRIBUTE_KEY} characters")
        elif has_controls(key):
            check.add(name, "must have a key without control characters or line breaks")
        check.text(name, attributes[key], maximum=_MAX_ATTRIBUTE_VALUE)
