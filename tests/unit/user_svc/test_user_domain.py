import re
from datetime import UTC, datetime, timedelta

import pytest

from mesh.errors import InvalidArgument, StaleEtag
from user_svc.domain import (
    Preferences,
    Profile,
    change_preferences,
    change_profile,
    fingerprint,
    has_controls,
    is_blank,
    is_email,
    is_time_zone,
    open_account,
)

THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = THEN + timedelta(hours=1)
ADA = Profile(display_name="Ada", email="ada@example.org", locale="en-GB", attributes={"a": "1"})


def account(last_version: int = 0):
    return open_account("ada", ADA, last_version=last_version, moment=THEN)


def test_a_new_account_begins_above_the_version_of_its_deletion() -> None:
    assert account().version == 1
    assert account(last_version=7).version == 8
    assert account(last_version=7).profile_etag != account().profile_etag


def test_only_named_fields_change() -> None:
    changed = change_profile(
        account(), Profile("Countess", email=""), ["display_name"], etag="", moment=LATER
    )
    assert changed.profile == Profile("Countess", ADA.email, "en-GB", "", {"a": "1"})
    assert (changed.version, changed.profile_time, changed.create_time) == (2, LATER, THEN)


def test_single_attributes_are_merged() -> None:
    before = change_profile(
        account(),
        Profile("Ada", attributes={"a": "1", "b": "2", "c.d": "3"}),
        ["attributes"],
        etag="",
        moment=THEN,
    )
    values = Profile("Ignored", attributes={"a": "one", "e": "5", "f": "ignored"})
    fields = ["attributes.a", "attributes.c.d", "attributes.e", "attributes.missing"]
    after = change_profile(before, values, fields, etag="", moment=LATER)
    assert after.profile.attributes == {"a": "one", "b": "2", "e": "5"}
    assert after.profile.display_name == "Ada"
    whole = change_profile(before, values, ["attributes", "attributes.a"], etag="", moment=LATER)
    assert whole.profile.attributes == values.attributes


def test_merged_attributes_stay_few() -> None:
    full = Profile("Ada", attributes={f"k{number}": "" for number in range(64)})
    before = change_profile(account(), full, ["attributes"], etag="", moment=THEN)
    values = Profile("", attributes={"new": "", "k0": "other"})
    change_profile(before, values, ["attributes.k0"], etag="", moment=LATER)
    fields = ["attributes.new", "attributes.k1"]
    replaced = change_profile(before, values, fields, etag="", moment=LATER)
    assert len(replaced.profile.attributes) == 64
    with pytest.raises(InvalidArgument) as caught:
        change_profile(before, values, ["attributes.new"], etag="", moment=LATER)
    assert [violation.field for violation in caught.value.violations] == ["user.attributes"]


def test_a_change_needs_the_current_etag_or_none() -> None:
    before = account()
    after = change_profile(before, ADA, ["email"], etag=before.profile_etag, moment=LATER)
    assert after.profile_etag != before.profile_etag
    with pytest.raises(StaleEtag):
        change_profile(after, ADA, ["email"], etag=before.profile_etag, moment=LATER)
    with pytest.raises(StaleEtag):
        change_preferences(after, Preferences(), [], etag=after.profile_etag, moment=LATER)


def test_profile_and_preferences_do_not_outdate_each_other() -> None:
    before = account()
    liked = change_preferences(
        before, Preferences(liked_genres=("Drama",)), ["liked_genres"], etag="", moment=LATER
    )
    assert liked.version == before.version + 1
    assert liked.profile_etag == before.profile_etag
    assert liked.preferences_etag != before.preferences_etag
    assert (liked.profile_time, liked.preferences_time) == (THEN, LATER)


@pytest.mark.parametrize(
    ("changed", "culprit"),
    [
        (Preferences(disliked_genres=("War", "Drama")), "disliked_genres[1]"),
        (Preferences(liked_genres=("Horror",)), "liked_genres[0]"),
    ],
)
def test_a_genre_is_not_liked_and_disliked(changed: Preferences, culprit: str) -> None:
    stored = change_preferences(
        account(),
        Preferences(liked_genres=("Drama",), disliked_genres=("Horror",)),
        ["liked_genres", "disliked_genres"],
        etag="",
        moment=THEN,
    )
    with pytest.raises(InvalidArgument) as caught:
        change_preferences(stored, changed, [culprit.partition("[")[0]], etag="", moment=LATER)
    assert [violation.field for violation in caught.value.violations] == [f"preferences.{culprit}"]
    assert not re.search("War|Drama|Horror", caught.value.message), "messages end up in traces"


def test_a_fingerprint_tells_any_two_requests_apart() -> None:
    requests = [
        ("", ADA),
        ("ada", ADA),
        ("", Profile("Ada")),
        ("", Profile("Ada", "ada@example.org")),
        ("", Profile("Ad", "aada@example.org")),
        ("", Profile("Ada", attributes={"ab": "c"})),
        ("", Profile("Ada", attributes={"a": "bc"})),
    ]
    assert len({fingerprint(*request) for request in requests}) == len(requests)
    one = Profile("Ada", attributes={"a": "1", "b": "2"})
    other = Profile("Ada", attributes={"b": "2", "a": "1"})
    assert fingerprint("", one) == fingerprint("", other)


@pytest.mark.parametrize(
    "value", ["a@b", "ada@example.org", "a.b+c@sub.example.co.uk", "x" * 64 + "@example.org"]
)
def test_emails(value: str) -> None:
    assert is_email(value)


@pytest.mark.parametrize(
    "value",
    [
        "ada",
        "@example.org",
        "ada@",
        "a b@example.org",
        "ada@exa mple.org",
        "ada@-example.org",
        "ada@example..org",
        "ada@example.org\n",
        "x" * 65 + "@example.org",
        "a@" + ".".join(["x" * 63] * 4),
    ],
)
def test_no_emails(value: str) -> None:
    assert not is_email(value)


def test_time_zones() -> None:
    assert is_time_zone("Europe/Berlin")
    assert is_time_zone("UTC")
    for wrong in ("Europe", "Mars/Olympus", "../etc/passwd", "localtime", "europe/berlin"):
        assert not is_time_zone(wrong)


@pytest.mark.parametrize(
    ("text", "blank", "controls"),
    [
        ("Ada", False, False),
        ("Ada Lovelace", False, False),
        ("\N{ZERO WIDTH JOINER}\N{MAN}", False, False),
        ("", True, False),
        (" \u00a0\u3000", True, False),
        ("\u200b\u202e", True, False),
        ("\u3164\u2800", True, False),
        ("\t", True, True),
        ("a\nb", False, True),
        ("a\u0085b", False, True),
        ("a\u2028b", False, True),
        ("a\x7f", False, True),
    ],
)
def test_what_can_be_seen_of_a_text(text: str, blank: bool, controls: bool) -> None:
    assert (is_blank(text), has_controls(text)) == (blank, controls)
