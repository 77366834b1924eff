"""Who is let in: tokens and scopes, in each form of a call."""

from __future__ import annotations

import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1 import user_service_pb2_grpc as user_grpc
from support.tokens import BAD_TOKENS, bearer

GET_USER = "/marquee.user.v1.UserService/GetUser"
LIST_MOVIES = "/marquee.reco.v1.CatalogService/ListMovies"
UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT = 16, 7, 3


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_bad_token_is_refused_with_its_reason(call, form, edge, calls, name):
    bad = edge.issuer.bad(name)
    before = len(calls.seen)

    answer = call(edge, GET_USER, metadata=bad.metadata)

    assert (answer.code, answer.reason) == (UNAUTHENTICATED, bad.reason)
    assert answer.http == (401 if form == "json" else 200)
    assert len(calls.seen) == before
    assert bad.token is None or bad.token not in str(answer)


@pytest.mark.parametrize(
    "shown",
    [
        "Basic YWRhOnNlY3JldA==",
        "Bearer",
        "Bearer a b",
        "Bearer a.b.c",
        "Bearer ....",
        "Bearer e30.e30.e30",
    ],
)
def test_what_is_no_token_is_refused(call, edge, shown):
    answer = call(edge, GET_USER, metadata=(("authorization", shown),))

    assert (answer.code, answer.reason) == (UNAUTHENTICATED, "TOKEN_MALFORMED")


def test_two_tokens_are_refused(edge):
    tokens = bearer(edge.issuer.mint()) + bearer(edge.issuer.mint())
    with grpc.insecure_channel(edge.address) as channel:
        stub = user_grpc.UserServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.GetUser(user_pb.GetUserRequest(user_id="ada"), metadata=tokens)

    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("path", [LIST_MOVIES, "/no.Such/Method", "/marquee.user.v1.UserService/X"])
def test_without_a_token_nothing_is_told(call, edge, path):
    answer = call(edge, path, metadata=())

    assert (answer.code, answer.reason) == (UNAUTHENTICATED, "TOKEN_MISSING")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_reaches_the_service_which_verifies_it_again(edge, calls, scheme):
    token = edge.issuer.mint("ada", ["users.read"])
    with grpc.insecure_channel(edge.address) as channel:
        user_grpc.UserServiceStub(channel).GetUser(
            user_pb.GetUserRequest(user_id="ada"),
            metadata=(("authorization", f"{scheme} {token}"),),
        )

    assert calls.last.metadata["authorization"] == f"Bearer {token}"


def test_health_asks_for_no_token(edge):
    with grpc.insecure_channel(edge.address) as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/../../marquee.user.v1.UserService/GetUser",
        "/grpc.health.v1.Health//../../marquee.user.v1.UserService/GetUser",
        "/grpc.health.v1.Health/./../../marquee.user.v1.UserService/GetUser",
        "/grpc.health.v1.HealthX/Check",
    ],
)
def test_what_asks_for_no_token_is_no_way_round(edge, calls, path):
    before = len(calls.seen)
    with grpc.insecure_channel(edge.address) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(path)(b"")

    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert len(calls.seen) == before


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "users.read"},
        {"scope": "users.write  users.read"},
        {"scope": None, "scp": ["users.read"]},
        {"scope": None, "scp": "users.read catalog.read"},
        {"scope": "users.write", "scp": ["users.read"]},
    ],
)
def test_a_scope_may_stand_in_either_claim(call, edge, claims):
    answer = call(edge, GET_USER, metadata=bearer(edge.issuer.mint("ada", **claims)))

    assert answer.code == INVALID_ARGUMENT  # the service's own answer: nobody is named


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "users.write"},
        {"scope": "users.reader"},
        {"scope": "xusers.read"},
        {"scope": "USERS.READ"},
        {"scope": "users.read,users.write"},
        {"scope": "admin subjects.any"},
        {"scope": ""},
        {"scope": None},
        {"scope": None, "scp": []},
        {"scope": {"users.read": True}},
        {"scope": None, "scp": [["users.read"]]},
        {"scope": None, "permissions": ["users.read"]},
    ],
)
def test_a_token_without_the_scope_is_refused(call, form, edge, calls, claims):
    before = len(calls.seen)
    answer = call(edge, GET_USER, metadata=bearer(edge.issuer.mint("ada", **claims)))

    assert (answer.code, answer.reason) == (PERMISSION_DENIED, "SCOPE_MISSING")
    assert answer.metadata == {"scope": "users.read"}
    assert answer.http == (403 if form == "json" else 200)
    assert len(calls.seen) == before


def test_clocks_may_differ_a_little(call, edge):
    just_over = edge.issuer.mint(exp=int(time.time()) - 10)

    assert call(edge, GET_USER, metadata=bearer(just_over)).code == INVALID_ARGUMENT
