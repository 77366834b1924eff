from __future__ import annotations

from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.json_schema import lua_schema

SCHEMA = lua_schema(
    mesh_descriptor_set(),
    ["marquee.user.v1.UserService", "marquee.reco.v1.RecommendationService"],
)


def line_of(start: str) -> str:
    (found,) = [line for line in SCHEMA.splitlines() if line.startswith(start)]
    return found


def test_methods_name_their_input():
    assert line_of('METHODS["/marquee.user.v1.UserService/GetUser"]').endswith(
        '= {input = "marquee.user.v1.GetUserRequest", stream = false}'
    )


def test_fields_have_both_names():
    assert '{name = "user_id", json = "userId", kind = "string", label = "a string"}' in line_of(
        'message("marquee.user.v1.GetUserRequest"'
    )


def test_maps_lists_and_times():
    user = line_of('message("marquee.user.v1.User"')
    preferences = line_of('message("marquee.user.v1.Preferences"')

    assert 'name = "attributes", json = "attributes", map = true' in user
    assert 'kind = "timestamp"' in user
    assert 'name = "liked_genres", json = "likedGenres", many = true' in preferences


def test_choices_are_marked():
    assert SCHEMA.count('oneof = "subject"') == 2


def test_only_what_requests_hold_is_known():
    assert "marquee.user.v1.GetUserResponse" not in SCHEMA
    assert "InteractionService" not in SCHEMA
    assert 'message("google.protobuf' not in SCHEMA


def test_enums_list_their_names():
    assert "CHANNEL_INBOX = true" in line_of('ENUMS["marquee.user.v1.Channel"]')
