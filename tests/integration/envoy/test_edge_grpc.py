"""gRPC through the edge: routes, deadlines, retries, and what the edge answers itself."""

from __future__ import annotations

import json
import time

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.reco.v1 import interaction_service_pb2_grpc as interaction_grpc
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1 import user_service_pb2_grpc as user_grpc
from marquee_envoy.config import REFLECTION_SCOPE_HEADER, Endpoint, Upstream
from support.tokens import bearer

from devstack.otlp import OtlpReceiver
from devstack.ports import Ports


@pytest.fixture
def users(channel):
    return user_grpc.UserServiceStub(channel)


def details_of(error, kind):
    status = rpc_status.from_call(error)
    assert status is not None, "the error has no details"
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    raise AssertionError(f"no {kind.DESCRIPTOR.name} in {status}")


def test_a_call_reaches_its_service(users):
    assert users.GetUser(user_pb.GetUserRequest(user_id="ada")).user.id == "ada"


def test_errors_of_services_arrive_whole(users):
    with pytest.raises(grpc.RpcError) as raised:
        users.GetUser(user_pb.GetUserRequest())

    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    bad = details_of(raised.value, error_details_pb2.BadRequest)
    assert [v.field for v in bad.field_violations] == ["user_id"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/no.Such/Method", "NO_SUCH_METHOD"), ("/marquee.user.v1/UserService", "NO_SUCH_METHOD")],
)
def test_an_unknown_path_is_unimplemented(channel, path, reason):
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(path)(b"")

    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert details_of(raised.value, error_details_pb2.ErrorInfo).reason == reason


def test_a_query_makes_it_another_path(channel, calls):
    before = len(calls.seen)
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/marquee.user.v1.UserService/GetUser?token=secret")(b"")

    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert details_of(raised.value, error_details_pb2.ErrorInfo).reason == "NO_SUCH_METHOD"
    assert len(calls.seen) == before


def test_a_method_without_a_policy_never_reaches_a_service(channel, calls):
    path = "/marquee.user.v1.UserService/FutureMethod"
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(path)(b"")

    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert details_of(raised.value, error_details_pb2.ErrorInfo).reason == "NO_SUCH_METHOD"
    assert path not in calls.headers


def test_the_reflection_scope_cannot_be_set_from_outside(users, calls):
    users.GetUser(
        user_pb.GetUserRequest(user_id="ada"), metadata=[(REFLECTION_SCOPE_HEADER, "mesh")]
    )

    assert REFLECTION_SCOPE_HEADER not in calls.last.metadata


def test_health_is_asked_with_the_scope_of_the_mesh(channel, calls):
    stub = health_pb2_grpc.HealthStub(channel)

    reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)

    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert calls.headers["/grpc.health.v1.Health/Check"][REFLECTION_SCOPE_HEADER] == "mesh"


def test_a_call_without_a_deadline_gets_that_of_its_method(users):
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as raised:
        users.GetUser(user_pb.GetUserRequest(user_id="slow"))

    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.4 < time.monotonic() - began < 2.0


def test_a_deadline_is_passed_on_and_cut_to_the_maximum(users, calls):
    users.GetUser(user_pb.GetUserRequest(user_id="ada"), timeout=0.9)
    assert 0 < calls.last.time_remaining < 1.0

    users.GetUser(user_pb.GetUserRequest(user_id="ada"), timeout=100)
    assert 0.6 < calls.last.time_remaining < 1.3


def test_a_silent_stream_is_not_cut(dial, make_edge):
    # The edge ends unary calls after 1.5 s of silence here; the stream lasts 2.7 s and, before
    # its first message, is silent for 0.9 s. With a shorter limit its silences are longer.
    edge = make_edge(stream_idle_s=0.4)
    with dial(edge) as opened:
        stub = notify_grpc.NotificationServiceStub(opened)
        stream = stub.Subscribe(notify_pb.SubscribeRequest(user_id="ada"))
        assert [message.cursor for message in stream] == ["0", "1", "2"]


def test_safe_calls_are_retried_and_others_not(users, calls):
    before = calls.count("GetUser"), calls.count("DeleteUser")
    for call, request in (
        (users.GetUser, user_pb.GetUserRequest(user_id="unavailable")),
        (users.DeleteUser, user_pb.DeleteUserRequest(user_id="unavailable")),
    ):
        with pytest.raises(grpc.RpcError) as raised:
            call(request)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE

    assert calls.count("GetUser") - before[0] == 3
    assert calls.count("DeleteUser") - before[1] == 1


def test_a_service_that_is_away_is_unavailable_with_retry_info(dial, make_edge, base_config):
    user, _, notify = base_config.upstreams
    away = Upstream(
        name="reco",
        package="marquee.reco.v1",
        endpoints=(Endpoint("127.0.0.1", Ports.free().reco),),
    )
    edge = make_edge(wait_for={"user"}, upstreams=(user, away, notify))
    with dial(edge) as opened:
        stub = interaction_grpc.InteractionServiceStub(opened)
        with pytest.raises(grpc.RpcError) as raised:
            stub.RecordInteractions(interaction_pb.RecordInteractionsRequest(), timeout=5)

    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    assert details_of(raised.value, error_details_pb2.RetryInfo).retry_delay.seconds == 1
    as_json = edge.post("marquee.reco.v1.InteractionService/RecordInteractions")
    assert as_json.status_code == 503
    assert as_json.json()["code"] == 14
    assert as_json.json()["details"][1]["retryDelay"] == "1s"


def test_headers_with_underscores_are_refused(edge):
    reply = edge.post("marquee.user.v1.UserService/GetUser", **{"user_id": "ada"})

    assert reply.status_code == 400


async def test_a_call_is_traced_and_the_trace_is_passed_on(make_edge, calls, issuer, tmp_path):
    port = Ports.free().otlp
    receiver = OtlpReceiver(f"127.0.0.1:{port}", tmp_path / "spans.jsonl")
    await receiver.start()
    try:
        edge = make_edge(otlp=Endpoint("127.0.0.1", port))
        trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        async with grpc.aio.insecure_channel(edge.address) as opened:
            await user_grpc.UserServiceStub(opened).GetUser(
                user_pb.GetUserRequest(user_id="ada"),
                metadata=[("traceparent", f"00-{trace_id}-{parent}-01"), *bearer(issuer.mint())],
            )
        version, passed_trace, passed_span, flags = calls.last.metadata["traceparent"].split("-")
        spans = await receiver.store.wait_for(trace_id, bool, timeout_s=10)
    finally:
        await receiver.stop()

    assert (version, passed_trace, flags) == ("00", trace_id, "01")
    # The first call may also have fetched the keys, before the edge did so by itself.
    (span,) = (span for span in spans if span.kind == "SERVER")
    assert span.service == "marquee-edge"
    assert span.name == "marquee.user.v1.UserService/GetUser"
    assert span.kind == "SERVER"
    assert span.parent_span_id == parent
    assert span.span_id == passed_span


async def test_spans_tell_what_happened_and_not_who_asked(make_edge, calls, issuer, tmp_path):
    port = Ports.free().otlp
    receiver = OtlpReceiver(f"127.0.0.1:{port}", tmp_path / "spans.jsonl")
    await receiver.start()
    trace_id = "0af7651916cd43dd8448eb211c80319d"
    headers = {
        "traceparent": f"00-{trace_id}-b7ad6b7169203331-01",
        "user-agent": "secret-agent",
        "x-request-id": "secret-request",
        "x-client-trace-id": "secret-trace",
        "x-envoy-downstream-service-cluster": "secret-cluster",
        "x-envoy-original-path": "/secret-path",
        "x-forwarded-for": "198.51.100.7",
    }
    try:
        edge = make_edge(otlp=Endpoint("127.0.0.1", port))
        for query in ("", "?secret-name=secret-value"):
            edge.post(f"marquee.user.v1.UserService/GetUser{query}", **headers)
            edge.post(f"no.Such/Method{query}", **{**headers, "authorization": "secret-token"})
        spans = await receiver.store.wait_for(trace_id, lambda s: len(s) >= 4, timeout_s=10)
    finally:
        await receiver.stop()

    for span in spans:
        told = str(dict(span.attributes)) + span.name
        assert "secret" not in told
        assert "198.51" not in told
        assert "127.0.0.1:" not in span.attributes.get("peer.address", "")
    assert {span.attributes["http.url"] for span in spans} == {
        "/marquee.user.v1.UserService/GetUser",
        "/no.Such/Method",
    }
    assert "user-agent" not in calls.headers["/marquee.user.v1.UserService/GetUser"]


def test_the_access_log_tells_what_happened_and_not_who_asked(dial, make_edge):
    # Nobody listens for the traces: that must not matter to calls.
    edge = make_edge(otlp=Endpoint("127.0.0.1", Ports.free().otlp))
    edge.post("marquee.user.v1.UserService/GetUser?token=secret", '{"userId": "somebody"}')
    edge.post("marquee.user.v1.UserService/GetUser", '{"userId": "somebody"}', cookie="secret")
    with dial(edge) as opened, pytest.raises(grpc.RpcError):
        user_grpc.UserServiceStub(opened).GetUser(user_pb.GetUserRequest())

    give_up_at = time.monotonic() + 10
    while edge.access_log.read_text().count("\n") < 3 and time.monotonic() < give_up_at:
        time.sleep(0.1)
    text = edge.access_log.read_text()

    refused, served, failed = (json.loads(line) for line in text.splitlines())
    assert refused["status"] == 400
    assert served["status"] == 200
    assert served["path"] == "/marquee.user.v1.UserService/GetUser"
    assert served["duration_ms"] >= 0
    assert len(served["trace_id"]) == 32
    assert failed["grpc_status"] == "INVALID_ARGUMENT"
    assert "grpc_status" not in refused
    assert "grpc_status" not in served
    assert "secret" not in text
    assert "somebody" not in text
