import json
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.reco.v1 import interaction_service_pb2, recommendation_service_pb2
from marquee.user.v1 import user_pb2, user_service_pb2
from marquee_policy import POLICIES
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from marquee_client.calls import affinity_of, metadata_of, timeout_of
from marquee_client.channels import channel_options
from mesh import contracts

GET_USER = "/marquee.user.v1.UserService/GetUser"
RECOMMEND = "/marquee.reco.v1.RecommendationService/Recommend"
RECORD = "/marquee.reco.v1.InteractionService/RecordInteractions"
SUBSCRIBE = "/marquee.notify.v1.NotificationService/Subscribe"
SPAN = NonRecordingSpan(
    SpanContext(
        0x0AF7651916CD43DD8448EB211C80319C,
        0xB7AD6B7169203331,
        is_remote=False,
        trace_flags=TraceFlags(1),
        trace_state=TraceState([("vendor", "x")]),
    )
)


def record(*people: str) -> Message:
    return interaction_service_pb2.RecordInteractionsRequest(
        interactions=[interaction_service_pb2.Interaction(user_id=person) for person in people]
    )


@pytest.mark.parametrize(
    ("path", "request_", "expected"),
    [
        (GET_USER, user_service_pb2.GetUserRequest(user_id="ada"), "ada"),
        (GET_USER, user_service_pb2.GetUserRequest(), ""),
        (GET_USER, user_service_pb2.GetUserRequest(user_id="ada\nx: y"), ""),
        (GET_USER, user_service_pb2.GetUserRequest(user_id="é"), ""),
        (GET_USER, user_service_pb2.GetUserRequest(user_id="a" * 129), ""),
        (
            "/marquee.user.v1.UserService/CreateUser",
            user_service_pb2.CreateUserRequest(user=user_pb2.User(id="ada")),
            "ada",
        ),
        (RECORD, record("ada", "ada"), "ada"),
        (RECORD, record("ada", "bob"), ""),
        (RECORD, record("ada", ""), ""),
        (RECORD, record(), ""),
        (RECOMMEND, recommendation_service_pb2.RecommendRequest(user_id="ada"), "ada"),
        (RECOMMEND, recommendation_service_pb2.RecommendRequest(), ""),
        ("/marquee.reco.v1.RecommendationService/Trending", record("ada"), ""),
        ("/grpc.health.v1.Health/Check", record("ada"), ""),
        (GET_USER, iter([user_service_pb2.GetUserRequest(user_id="ada")]), ""),
    ],
)
def test_affinity_is_the_one_user_a_call_is_about(path: str, request_: Any, expected: str) -> None:
    assert affinity_of(path, request_) == expected


def test_every_subject_field_can_be_read() -> None:
    for service in contracts.services().values():
        for method in service.methods:
            request = message_factory.GetMessageClass(method.input_type)()
            assert affinity_of(f"/{service.full_name}/{method.name}", request) == ""


def test_a_call_gets_the_default_of_its_contract_unless_it_says_otherwise() -> None:
    assert timeout_of(GET_USER, None) == POLICIES[GET_USER].default_timeout
    assert timeout_of(GET_USER, 17.0) == 17.0
    assert timeout_of(GET_USER, 0.0) == 0.0
    assert timeout_of(SUBSCRIBE, None) is None
    assert timeout_of("/another.Service/Call", None) is None


def test_metadata_carries_trace_token_and_affinity() -> None:
    request = user_service_pb2.GetUserRequest(user_id="ada")
    found = metadata_of(GET_USER, [("x-mine", "1")], request=request, token="t.o.k", span=SPAN)
    assert found == [
        ("x-mine", "1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=x"),
        ("authorization", "Bearer t.o.k"),
        ("x-marquee-affinity", "ada"),
    ]


def test_what_the_caller_gives_is_left_as_it_is() -> None:
    given = [
        ("authorization", "Bearer mine"),
        ("x-marquee-affinity", "bob"),
        ("traceparent", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
    ]
    request = user_service_pb2.GetUserRequest(user_id="ada")
    found = metadata_of(GET_USER, given, request=request, token="t", span=SPAN)
    assert [entry for entry in found if entry[0] != "tracestate"] == given


def test_without_span_and_token_there_is_nothing_to_carry() -> None:
    request = notify_pb.SubscribeRequest()
    found = metadata_of(SUBSCRIBE, None, request=request, token=None, span=trace.INVALID_SPAN)
    assert found == []


def test_the_channel_loads_the_published_service_config() -> None:
    options = dict(channel_options("edge.example.org:443", None))
    config = json.loads(str(options["grpc.service_config"]))
    retried = {
        f"/{name['service']}/{name['method']}"
        for method in config["methodConfig"]
        for name in method["name"]
        if "retryPolicy" in method
    }
    assert retried == {path for path, policy in POLICIES.items() if policy.retry_safe}
    assert retried


def test_pings_are_rarer_than_the_servers_bear() -> None:
    options = dict(channel_options("edge.example.org:443", None))
    assert int(options["grpc.keepalive_time_ms"]) >= 2 * 20_000  # mesh.server: every 20 s
    assert options["grpc.keepalive_permit_without_calls"] == 0


def test_what_stays_here_goes_through_no_proxy() -> None:
    assert ("grpc.enable_http_proxy", 0) in channel_options("127.0.0.1:1", None)
    assert "grpc.enable_http_proxy" not in dict(channel_options("edge.example.org:443", None))
