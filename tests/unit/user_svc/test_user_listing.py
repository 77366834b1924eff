from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import timestamp_pb2
from marquee.user.v1 import user_service_pb2 as pb

from mesh.validation import Violations
from user_svc.domain import Position, Profile, UserFilter, open_account
from user_svc.requests.listing import (
    position_token,
    read_filter,
    read_position,
    read_version,
    version_token,
)
from user_svc.store.listing import plan_of

THEN = datetime(2026, 11, 1, 12, 0, 0, 123000, tzinfo=UTC)
LATER = THEN + timedelta(days=1)
ADA = open_account(
    "ada",
    Profile("Ada", "Ada@example.org", "en-GB", "Europe/London"),
    last_version=0,
    moment=THEN,
)
BEHIND_ADA = Position("ada", THEN)


def fields(check: Violations) -> list[str]:
    return [violation.field for violation in check.found]


@pytest.mark.parametrize(
    "wanted",
    [
        UserFilter(),
        UserFilter(id_prefix="a"),
        UserFilter(id_prefix="ada"),
        UserFilter(email="ada@EXAMPLE.org"),
        UserFilter(locale="en-GB"),
        UserFilter(time_zone="Europe/London"),
        UserFilter(created_from=THEN),
        UserFilter(created_before=LATER),
        UserFilter("a", "Ada@example.org", "en-GB", "Europe/London", THEN, LATER),
    ],
)
def test_who_matches(wanted: UserFilter) -> None:
    assert wanted.matches(ADA)


@pytest.mark.parametrize(
    "wanted",
    [
        UserFilter(id_prefix="b"),
        UserFilter(id_prefix="adam"),
        UserFilter(email="da@example.org"),
        UserFilter(locale="en"),
        UserFilter(locale="en-gb"),
        UserFilter(time_zone="Europe/Berlin"),
        UserFilter(created_from=THEN + timedelta(milliseconds=1)),
        UserFilter(created_before=THEN),
        UserFilter("a", "Ada@example.org", "en-GB", "Europe/Berlin", THEN, LATER),
    ],
)
def test_who_does_not_match(wanted: UserFilter) -> None:
    assert not wanted.matches(ADA)


def test_nobody_without_an_address_matches_one() -> None:
    nameless = open_account("eve", Profile("Eve"), last_version=0, moment=THEN)
    assert not UserFilter(email="a@b").matches(nameless)


@pytest.mark.parametrize(
    ("wanted", "after", "queries", "exact"),
    [
        (UserFilter(), None, [{}], True),
        (UserFilter(), BEHIND_ADA, [{"_id": {"$gt": "ada"}}], True),
        (
            UserFilter(id_prefix="a"),
            BEHIND_ADA,
            [{"_id": {"$gte": "a", "$lt": "a\x7f", "$gt": "ada"}}],
            True,
        ),
        (UserFilter(locale="de"), None, [{"profile.locale": "de"}], True),
        (UserFilter(locale="de", time_zone="UTC"), None, [{"profile.locale": "de"}], False),
        (
            UserFilter(time_zone="UTC"),
            BEHIND_ADA,
            [{"profile.time_zone": "UTC", "_id": {"$gt": "ada"}}],
            True,
        ),
        (UserFilter(email="A@b", locale="de"), None, [{"email_key": "a@b"}], False),
        (UserFilter(created_from=THEN), None, [{"create_time": {"$gte": THEN}}], True),
        (
            UserFilter(created_from=THEN, created_before=LATER, locale="de"),
            BEHIND_ADA,
            [
                {"create_time": THEN, "_id": {"$gt": "ada"}},
                {"create_time": {"$gt": THEN, "$lt": LATER}},
            ],
            False,
        ),
    ],
)
def test_each_query_is_a_range_of_one_index(
    wanted: UserFilter, after: Position | None, queries: list[dict[str, Any]], exact: bool
) -> None:
    plan = plan_of(wanted, after)
    assert (list(plan.queries), plan.exact) == (queries, exact)
    by_creation = wanted.by_creation and not wanted.email
    assert next(iter(plan.order)) == (("create_time", 1) if by_creation else ("_id", 1))


def test_a_token_names_its_place() -> None:
    check = Violations()
    wanted = UserFilter(locale="de", created_from=THEN)
    assert read_position(check, wanted, position_token(wanted, BEHIND_ADA)) == BEHIND_ADA
    assert read_position(check, wanted, "") is None
    assert read_version(check, "ada", version_token("ada", 7)) == 7
    assert fields(check) == []


@pytest.mark.parametrize(
    "other",
    [
        UserFilter(),
        UserFilter(locale="en"),
        UserFilter(time_zone="de"),
        UserFilter(locale="de", created_from=THEN),
        UserFilter(locale="de", id_prefix="a"),
    ],
)
def test_a_token_of_another_filter_is_refused(other: UserFilter) -> None:
    check = Violations()
    token = position_token(UserFilter(locale="de"), BEHIND_ADA)
    assert read_position(check, other, token) is None
    assert fields(check) == ["page_token"]


def test_a_token_of_another_trail_is_refused() -> None:
    check = Violations()
    assert read_version(check, "bob", version_token("ada", 7)) is None
    assert fields(check) == ["page_token"]


def test_a_good_filter_is_read_as_it_is() -> None:
    check = Violations()
    message = pb.UserFilter(
        id_prefix="a.",
        email="Ada@example.org",
        locale="en-GB",
        time_zone="Europe/London",
        create_time_from=timestamp_pb2.Timestamp(seconds=1),
        create_time_before=timestamp_pb2.Timestamp(seconds=2),
    )
    read = read_filter(check, message)
    assert fields(check) == []
    assert (read.id_prefix, read.email, read.locale) == ("a.", "Ada@example.org", "en-GB")
    assert read.time_zone == "Europe/London"
    assert read.created_from == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert read.created_before == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert read_filter(check, pb.UserFilter()) == UserFilter()


def test_every_bad_field_of_a_filter_is_named() -> None:
    check = Violations()
    read_filter(
        check,
        pb.UserFilter(
            id_prefix="a b",
            email="nonsense",
            locale="?",
            time_zone="Mars",
            create_time_from=timestamp_pb2.Timestamp(seconds=2**60),
        ),
    )
    assert fields(check) == [
        "filter.id_prefix",
        "filter.email",
        "filter.locale",
        "filter.time_zone",
        "filter.create_time_from",
    ]
    moment = timestamp_pb2.Timestamp(seconds=5)
    check = Violations()
    read_filter(check, pb.UserFilter(create_time_from=moment, create_time_before=moment))
    assert fields(check) == ["filter.create_time_before"]
