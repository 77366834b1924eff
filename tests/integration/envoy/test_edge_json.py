"""The JSON form and grpc-web: what callers without gRPC see."""

from __future__ import annotations

import json

import httpx
import pytest
from google.protobuf import json_format, timestamp_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as user_pb
from support.tokens import bearer

GET_USER = "marquee.user.v1.UserService/GetUser"
UPDATE_USER = "marquee.user.v1.UserService/UpdateUser"
RECORD = "marquee.reco.v1.InteractionService/RecordInteractions"
RECOMMEND = "marquee.reco.v1.RecommendationService/Recommend"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

FUZZ = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def client(edge):
    headers = {"content-type": "application/json", **dict(bearer(edge.issuer.mint()))}
    with httpx.Client(base_url=f"http://{edge.address}", headers=headers, timeout=10) as opened:
        yield opened


def detail(body, kind):
    return next(d for d in body["details"] if d["@type"] == kind)


def refused_fields(reply) -> list[str]:
    body = reply.json()
    assert reply.status_code == 400, body
    assert reply.headers["content-type"].startswith("application/json")
    assert body["code"] == 3
    assert detail(body, ERROR_INFO)["domain"] == "marquee"
    violations = detail(body, BAD_REQUEST)["fieldViolations"]
    assert all(v["description"] for v in violations)
    assert all(v["field"] in body["message"] for v in violations)
    return [v["field"] for v in violations]


def test_a_call_in_json(edge):
    reply = edge.post(GET_USER, '{"userId": "ada"}')

    assert reply.status_code == 200
    assert reply.json()["user"]["id"] == "ada"


def test_an_empty_body_is_an_empty_message(edge):
    assert refused_fields_of_service(edge.post(GET_USER, "")) == ["user_id"]


def refused_fields_of_service(reply):
    assert reply.status_code == 400
    return [v["field"] for v in detail(reply.json(), BAD_REQUEST)["fieldViolations"]]


def test_errors_of_services_become_json(edge):
    reply = edge.post(GET_USER, "{}")

    assert refused_fields_of_service(reply) == ["user_id"]
    assert reply.json()["code"] == 3


@pytest.mark.parametrize(
    ("method", "body", "fields"),
    [
        (GET_USER, '{"nope": 1}', ["nope"]),
        (GET_USER, '{"nope": {"deep": [1, {"x": "\\u00e9"}]}, "more": null}', ["nope", "more"]),
        (GET_USER, '{"n\\u006fpe": 1}', ["nope"]),
        (GET_USER, '{"": 1}', ["body"]),
        (GET_USER, '{"userId": 7}', ["user_id"]),
        (GET_USER, '{"user_id": ["ada"]}', ["user_id"]),
        (GET_USER, '{"userId": {"id": "ada"}}', ["user_id"]),
        (GET_USER, '{"userId": "a", "user_id": "b"}', ["user_id"]),
        (GET_USER, '{"userId": "a"', ["user_id"]),
        (GET_USER, '{"userId": "a', ["user_id"]),
        (GET_USER, '{"userId": }', ["user_id"]),
        (GET_USER, '{"userId": "a"} trailing', ["body"]),
        (GET_USER, '{"userId": "a",}', ["body"]),
        (GET_USER, "{userId: 1}", ["body"]),
        (GET_USER, "not json", ["body"]),
        (GET_USER, '["a"]', ["body"]),
        (GET_USER, '"a"', ["body"]),
        (GET_USER, "\x00", ["body"]),
        (GET_USER, "[" * 5000, None),
        (UPDATE_USER, '{"user": {"attributes": {"k": 1}}}', ["user.attributes[k]"]),
        (UPDATE_USER, '{"user": {"attributes": []}}', ["user.attributes"]),
        (UPDATE_USER, '{"user": {"createTime": "yesterday"}}', ["user.create_time"]),
        (UPDATE_USER, '{"user": {"createTime": "2026-13-01T00:00:00Z"}}', ["user.create_time"]),
        (UPDATE_USER, '{"user": {"createTime": "2026-02-29T00:00:00Z"}}', ["user.create_time"]),
        (RECOMMEND, '{"userId": "a", "session": {"movieIds": ["m"]}}', ["session"]),
        (UPDATE_USER, '{"user": {"name": "x"}, "updateMask": 3}', ["user.name", "update_mask"]),
        (RECORD, '{"interactions": {}}', ["interactions"]),
        (RECORD, '{"interactions": [{}, {"kind": 1}]}', ["interactions[1].kind"]),
        (RECORD, '{"interactions": [{"type": "BOGUS"}]}', ["interactions[0].type"]),
        (RECORD, '{"interactions": [{"type": 1.5}]}', ["interactions[0].type"]),
        (RECORD, '{"interactions": [{"value": "much"}]}', ["interactions[0].value"]),
        (RECORD, '{"interactions": [{"value": true}]}', ["interactions[0].value"]),
        (RECORD, '{"interactions": [{"value": 1e999}]}', ["interactions[0].value"]),
        (RECORD, '{"interactions": [{"value": "-1e999"}]}', ["interactions[0].value"]),
        (GET_USER, r'{"userId": "\ud83d"}', ["user_id"]),
        (GET_USER, r'{"userId": "\ude00\ud83d"}', ["user_id"]),
        (GET_USER, r'{"userId": "\ud83d\u0041"}', ["user_id"]),
        (GET_USER, b'{"userId": "\xff"}', ["user_id"]),
        (GET_USER, b'{"userId": "\xc0\xaf"}', ["user_id"]),
        (GET_USER, b'{"userId": "\xed\xa0\x80"}', ["user_id"]),
        (GET_USER, b'{"userId": "\xf4\x90\x80\x80"}', ["user_id"]),
        (GET_USER, b'{"userId": "\xe2\x82"}', ["user_id"]),
        (UPDATE_USER, b'{"user": {"attributes": {"\xe2": "x"}}}', ["user.attributes"]),
    ],
)
def test_a_wrong_request_is_refused_by_the_name_of_its_field(edge, method, body, fields):
    named = refused_fields(edge.post(method, body))

    assert named == fields or (fields is None and named)


@pytest.mark.parametrize("text", ["\U0001f600", "\u20ac", "\u07ff", "\uffff", "\ud7ff\U0010ffff"])
@pytest.mark.parametrize("escaped", [True, False])
def test_every_character_may_be_written(edge, text, escaped):
    reply = edge.post(GET_USER, json.dumps({"userId": text}, ensure_ascii=escaped).encode())

    assert reply.json()["user"]["id"] == text


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/json",
        "",
    ],
)
def test_a_page_of_another_site_cannot_call_without_asking(edge, calls, content_type):
    # These are what a browser sends across sites without asking beforehand, or nearly so.
    before = len(calls.seen)
    reply = edge.post(GET_USER, '{"userId": "ada"}', **{"content-type": content_type})

    assert reply.status_code == 415
    assert reply.json()["code"] == 3
    assert detail(reply.json(), ERROR_INFO)["reason"] == "MALFORMED_REQUEST"
    assert "application/json" in reply.json()["message"]
    assert len(calls.seen) == before


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/json;x=y"]
)
def test_the_content_type_of_json_may_have_parameters(edge, content_type):
    reply = edge.post(GET_USER, '{"userId": "ada"}', **{"content-type": content_type})

    assert reply.status_code == 200


def test_what_only_the_transcoder_notices_has_the_same_form(edge):
    # Protobuf's times begin with the year 1.
    reply = edge.post(UPDATE_USER, '{"user": {"createTime": "0000-01-01T00:00:00Z"}}')

    assert refused_fields(reply) == ["body"]
    assert "create_time" in reply.json()["message"]


def test_at_most_so_many_violations_are_named(edge):
    body = json.dumps({f"field{n}": n for n in range(100)})

    assert len(refused_fields(edge.post(GET_USER, body))) == 16


def test_a_query_parameter_is_refused_by_name(edge):
    assert refused_fields(edge.post(f"{GET_USER}?userId=ada&x=y")) == ["userId"]


@pytest.mark.parametrize(
    ("verb", "path", "status", "code"),
    [
        ("POST", "no.Such/Method", 404, 5),
        ("POST", "marquee.user.v1.UserService/NoSuchMethod", 404, 5),
        ("GET", "", 404, 5),
        ("GET", GET_USER, 405, 12),
        ("POST", GET_USER.replace("/", "%2F"), 400, 3),
        ("POST", GET_USER + "%5c", 400, 3),
    ],
)
def test_other_paths_are_answered_in_json(client, verb, path, status, code):
    reply = client.request(verb, f"/{path}", content="{}")

    assert reply.status_code == status
    assert reply.json()["code"] == code
    assert detail(reply.json(), ERROR_INFO)["reason"]


def test_a_request_that_is_too_large_is_refused_in_json(edge):
    reply = edge.post(GET_USER, json.dumps({"userId": "a" * 100_000}))

    assert reply.status_code == 413
    assert reply.json()["code"] == 3
    assert detail(reply.json(), ERROR_INFO)["reason"] == "REQUEST_TOO_LARGE"


def test_a_deadline_that_passes_is_told_in_json(edge):
    reply = edge.post(GET_USER, '{"userId": "slow"}')

    assert reply.status_code == 504
    assert reply.json()["code"] == 4


def test_a_stream_comes_line_by_line(client):
    path = "/marquee.notify.v1.NotificationService/Subscribe"
    with client.stream("POST", path, content='{"userId": "ada"}') as reply:
        cursors = [json.loads(line)["cursor"] for line in reply.iter_lines() if line]

    assert cursors == ["0", "1", "2"]


ids = st.text(max_size=12)
times = st.integers(0, 4_000_000_000).map(lambda s: timestamp_pb2.Timestamp(seconds=s, nanos=5000))
interactions = st.builds(
    interaction_pb.Interaction,
    event_id=ids,
    user_id=ids,
    movie_id=ids,
    type=st.integers(0, 6),
    value=st.floats(allow_nan=False),
    occur_time=times,
)
users = st.builds(
    user_pb2.User, id=ids, email=ids, attributes=st.dictionaries(ids, ids), create_time=times
)


@FUZZ
@given(rows=st.lists(interactions, max_size=4), original_names=st.booleans())
def test_every_correct_request_passes(client, calls, rows, original_names):
    request = interaction_pb.RecordInteractionsRequest(interactions=rows)
    body = json_format.MessageToJson(request, preserving_proto_field_name=original_names)

    reply = client.post(f"/{RECORD}", content=body)

    assert reply.status_code == 200, reply.text
    assert calls.last.request == request


@FUZZ
@given(user=users, escaped=st.booleans())
def test_every_correct_user_passes(client, calls, user, escaped):
    request = user_pb.UpdateUserRequest(user=user)
    body = json.dumps(json_format.MessageToDict(request), ensure_ascii=escaped)

    reply = client.post(f"/{UPDATE_USER}", content=body.encode())

    assert reply.status_code == 200, reply.text
    assert calls.last.request == request


@FUZZ
@given(data=st.data())
def test_every_broken_request_is_refused(client, data):
    user = data.draw(users)
    body = json.dumps(json_format.MessageToDict(user_pb.UpdateUserRequest(user=user)))
    at = data.draw(st.integers(0, len(body) - 1))
    instead = data.draw(st.sampled_from(["", "}", '"', "\\", "\x01", ","]))
    broken = body[:at] + instead + body[at + 1 :]
    try:
        json.loads(broken)
    except ValueError:
        reply = client.post(f"/{UPDATE_USER}", content=broken)
        assert refused_fields(reply)
