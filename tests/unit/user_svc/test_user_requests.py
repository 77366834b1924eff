import pytest
from google.protobuf import field_mask_pb2
from marquee.user.v1 import user_pb2

from mesh.validation import Violations
from user_svc.domain import Channel, TopicPreference
from user_svc.requests.preferences import read_preferences, read_preferences_mask
from user_svc.requests.profiles import read_profile, read_profile_mask, read_request_id

ALL = frozenset({"liked_genres", "disliked_genres", "languages", "topics"})


def fields(check: Violations) -> list[str]:
    return [violation.field for violation in check.found]


def test_a_good_user_is_read_as_it_is() -> None:
    check = Violations()
    profile = read_profile(
        check,
        user_pb2.User(
            display_name="Ada",
            email="ada@example.org",
            locale="en-GB",
            time_zone="Europe/London",
            attributes={"shoe.size": "37", "$": ""},
        ),
    )
    assert fields(check) == []
    assert profile.time_zone == "Europe/London"
    assert profile.attributes == {"shoe.size": "37", "$": ""}


@pytest.mark.parametrize(
    ("user", "wrong"),
    [
        (user_pb2.User(), ["user.display_name"]),
        (user_pb2.User(display_name="x" * 201), ["user.display_name"]),
        (user_pb2.User(display_name="a\0b"), ["user.display_name"]),
        (user_pb2.User(display_name=" \u200b "), ["user.display_name"]),
        (user_pb2.User(display_name="Ada\nBcc: eve@example.org"), ["user.display_name"]),
        (user_pb2.User(display_name="Ada", email="nonsense"), ["user.email"]),
        (user_pb2.User(display_name="Ada", locale="not a tag"), ["user.locale"]),
        (user_pb2.User(display_name="Ada", time_zone="Mars"), ["user.time_zone"]),
        (
            user_pb2.User(display_name="Ada", attributes={f"k{i}": "" for i in range(65)}),
            ["user.attributes"],
        ),
        (
            user_pb2.User(display_name="Ada", attributes={"": "v", "k": "v" * 1025}),
            ["user.attributes['']", "user.attributes['k']"],
        ),
        (
            user_pb2.User(display_name="Ada", attributes={"k\n": "v", "k": "two\nlines"}),
            ["user.attributes['k\\n']"],
        ),
        (
            user_pb2.User(email="x", locale="?", time_zone="Mars"),
            ["user.display_name", "user.email", "user.locale", "user.time_zone"],
        ),
    ],
)
def test_every_bad_field_of_a_user_is_named(user: user_pb2.User, wrong: list[str]) -> None:
    check = Violations()
    read_profile(check, user)
    assert fields(check) == wrong


def test_fields_outside_of_the_mask_are_not_looked_at() -> None:
    check = Violations()
    read_profile(check, user_pb2.User(email="nonsense"), frozenset({"locale"}))
    assert fields(check) == []


def test_the_value_of_an_address_is_not_repeated() -> None:
    check = Violations()
    read_profile(check, user_pb2.User(display_name="Ada", email="ada at example.org"))
    assert "ada" not in check.found[0].description


def test_masks() -> None:
    check = Violations()
    assert read_profile_mask(check, field_mask_pb2.FieldMask(paths=["email"])) == {"email"}
    assert read_preferences_mask(check, field_mask_pb2.FieldMask()) == ALL
    assert read_preferences_mask(check, field_mask_pb2.FieldMask(paths=["*"])) == ALL
    assert fields(check) == []
    read_profile_mask(check, field_mask_pb2.FieldMask(paths=["id", "email"]))
    read_preferences_mask(check, field_mask_pb2.FieldMask(paths=["etag"]))
    assert fields(check) == ["update_mask", "update_mask"]


def test_masks_may_name_single_attributes() -> None:
    check = Violations()
    paths = ["attributes.a", "attributes.b.c", "email"]
    assert read_profile_mask(check, field_mask_pb2.FieldMask(paths=paths)) == set(paths)
    only = field_mask_pb2.FieldMask(paths=["attributes.a"])
    assert read_profile_mask(check, only) == {"attributes.a"}
    assert fields(check) == []


@pytest.mark.parametrize(
    "paths",
    [
        ["user.email"],
        ["email.host"],
        ["attributes."],
        ["Email"],
        [""],
        ["*", "email"],
        ["*", "attributes.a"],
        ["attributes.a", "nonsense"],
        [f"attributes.{number}" for number in range(129)],
    ],
)
def test_wrong_masks(paths: list[str]) -> None:
    check = Violations()
    read_profile_mask(check, field_mask_pb2.FieldMask(paths=paths))
    assert fields(check) == ["update_mask"]


def test_only_named_attributes_are_looked_at() -> None:
    user = user_pb2.User(attributes={"bad": "v" * 1025, "worse": "v" * 1025, "good": "v"})
    check = Violations()
    read_profile(check, user, {"attributes.good", "attributes.bad", "attributes.gone"})
    assert fields(check) == ["user.attributes['bad']"]


@pytest.mark.parametrize("request_id", ["r" * 129, "a\nb", "\0"])
def test_wrong_request_ids(request_id: str) -> None:
    check = Violations()
    read_request_id(check, request_id)
    assert set(fields(check)) == {"request_id"}


def test_good_preferences() -> None:
    check = Violations()
    preferences = read_preferences(
        check,
        user_pb2.Preferences(
            liked_genres=["Drama", "Film-Noir"],
            languages=["en", "de-AT"],
            topics=[
                user_pb2.TopicPreference(
                    topic="recommendations", muted_channels=[user_pb2.CHANNEL_STREAM]
                ),
                user_pb2.TopicPreference(topic="news"),
            ],
        ),
        ALL,
    )
    assert fields(check) == []
    assert preferences.topics == (
        TopicPreference("recommendations", (Channel.STREAM,)),
        TopicPreference("news", ()),
    )


def test_every_bad_preference_is_named() -> None:
    check = Violations()
    read_preferences(
        check,
        user_pb2.Preferences(
            liked_genres=["", "Drama", "Drama"],
            disliked_genres=["x"] * 101,
            languages=["en", "gibberish!"],
            topics=[
                user_pb2.TopicPreference(
                    topic="t",
                    muted_channels=[user_pb2.CHANNEL_UNSPECIFIED, 99, 1, 1],
                ),
                user_pb2.TopicPreference(topic="t"),
            ],
        ),
        ALL,
    )
    for word in ("Film\nNoir", " "):
        single = Violations()
        read_preferences(single, user_pb2.Preferences(liked_genres=[word]), ALL)
        assert fields(single) == ["preferences.liked_genres[0]"]
    assert fields(check)[:3] == [
        "preferences.liked_genres[0]",
        "preferences.liked_genres[2]",
        "preferences.disliked_genres",
    ]
    assert fields(check)[-5:] == [
        "preferences.languages[1]",
        "preferences.topics[1].topic",
        "preferences.topics[0].muted_channels[0]",
        "preferences.topics[0].muted_channels[1]",
        "preferences.topics[0].muted_channels[3]",
    ]
