"""Who is let in and who may do what, over real connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.reco.v1 import interaction_service_pb2_grpc as interaction_grpc
from marquee.reco.v1 import recommendation_service_pb2 as recommendation_pb
from marquee.reco.v1 import recommendation_service_pb2_grpc as recommendation_grpc
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.tokens import BAD_TOKENS, Issuer, Metadata, bearer

from mesh.auth.caller import Caller, current_caller
from mesh.server import MeshServer, Registration
from mesh.settings import MeshSettings

Serve = Callable[..., Awaitable[Any]]
GET = pb.GetUserRequest(user_id="ada")
SUBSCRIBE = notify_pb.SubscribeRequest(user_id="ada")
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED


async def refusal_of(call: Any) -> tuple[grpc.StatusCode, error_details_pb2.ErrorInfo]:
    """Returns the code and the ErrorInfo of a call, unary or a stream, that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (call.read() if hasattr(call, "read") else call)
    status = await rpc_status.aio.from_call(call)
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.domain == "marquee"
    return refused.value.code(), info


@pytest.fixture
async def running(serve: Serve, behaviour: Any) -> Any:
    """A server whose handlers note who called."""

    async def unary(request: Any, context: Any) -> None:
        behaviour.seen.append(current_caller.get())

    async def stream(request: Any, context: Any) -> AsyncIterator[int]:
        behaviour.seen.append(current_caller.get())
        yield 1
        await asyncio.Event().wait()

    behaviour.unary, behaviour.stream = unary, stream
    return await serve(auth_leeway_seconds=0)


@pytest.fixture
async def channel(running: Any) -> AsyncIterator[grpc.aio.Channel]:
    """A plain channel, without a token."""
    async with grpc.aio.insecure_channel(running.address) as opened:
        yield opened


def get(channel: grpc.aio.Channel, metadata: Metadata, request: Message = GET) -> Any:
    return pb_grpc.UserServiceStub(channel).GetUser(request, metadata=metadata, timeout=20)


def subscribe(channel: grpc.aio.Channel, metadata: Metadata) -> Any:
    return notify_grpc.NotificationServiceStub(channel).Subscribe(
        SUBSCRIBE, metadata=metadata, timeout=20
    )


class TestAuthentication:
    @pytest.mark.parametrize("call", [get, subscribe])
    @pytest.mark.parametrize("name", BAD_TOKENS)
    async def test_a_bad_token_is_refused(
        self,
        name: str,
        call: Callable[..., Any],
        channel: grpc.aio.Channel,
        issuer: Issuer,
        behaviour: Any,
    ) -> None:
        bad = issuer.bad(name)
        code, info = await refusal_of(call(channel, bad.metadata))
        assert (code, info.reason) == (UNAUTHENTICATED, bad.reason)
        assert not info.metadata
        assert not behaviour.seen, "the handler is not reached"

    async def test_a_good_one_tells_who_calls(
        self, channel: grpc.aio.Channel, issuer: Issuer, behaviour: Any
    ) -> None:
        await get(channel, bearer(issuer.mint("ada", ["users.read"])))
        stream = subscribe(channel, bearer(issuer.mint("ada", ["notifications.read"])))
        assert (await stream.read()).cursor == "1"
        callers: list[Caller] = behaviour.seen
        assert [caller.subject for caller in callers] == ["ada", "ada"]
        assert [caller.scopes for caller in callers] == [{"users.read"}, {"notifications.read"}]
        assert current_caller.get() is None

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    async def test_the_scheme_is_read_in_any_case(
        self, scheme: str, channel: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        await get(channel, (("authorization", f"{scheme} {issuer.mint()}"),))

    @pytest.mark.parametrize(
        "value",
        ["", "Bearer", "Bearer ", "Basic YTpi", "{token}", "Bearer  {token}", "DPoP {token}"],
    )
    async def test_what_is_no_bearer_token_is_malformed(
        self, value: str, channel: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        metadata = (("authorization", value.format(token=issuer.mint())),)
        code, info = await refusal_of(get(channel, metadata))
        assert (code, info.reason) == (UNAUTHENTICATED, "TOKEN_MALFORMED")

    async def test_of_two_tokens_none_counts(
        self, channel: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        good, bad = issuer.mint(), issuer.bad("wrong key").token
        for first, second in ((good, bad), (bad, good), (good, good)):
            assert first
            assert second
            code, info = await refusal_of(get(channel, bearer(first) + bearer(second)))
            assert (code, info.reason) == (UNAUTHENTICATED, "TOKEN_MALFORMED")

    async def test_infrastructure_is_open(self, channel: grpc.aio.Channel) -> None:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([ask])
        )
        assert (await replies.read()).list_services_response.service

    @pytest.mark.parametrize("path", ["/marquee.user.v1.UserService/Nothing", "/x/y"])
    async def test_nothing_is_told_of_what_does_not_exist(
        self, path: str, channel: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        for metadata in ((), issuer.bad("expired").metadata, bearer(issuer.mint())):
            code, info = await refusal_of(channel.unary_unary(path)(b"", metadata=metadata))
            assert (code, info.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NO_SUCH_METHOD")

    async def test_spans_tell_the_kind_of_caller_and_no_person(
        self, channel: grpc.aio.Channel, issuer: Issuer, spans: InMemorySpanExporter
    ) -> None:
        token = issuer.mint("somebody-in-person", ["users.read"])
        request = pb.GetUserRequest(user_id="somebody-in-person")
        await get(channel, bearer(token), request)
        await get(channel, bearer(issuer.mint("service:billing")))
        await asyncio.sleep(0.1)
        person, service = [dict(span.attributes or {}) for span in spans.get_finished_spans()]
        assert person["marquee.caller.kind"] == "user"
        assert "marquee.caller.service" not in person
        assert service["marquee.caller.kind"] == "service"
        assert service["marquee.caller.service"] == "billing"
        told = " ".join(span.to_json() for span in spans.get_finished_spans())
        assert "somebody-in-person" not in told
        assert token not in told


class TestAuthorisation:
    async def test_the_scope_of_the_rpc_is_asked_for(
        self, channel: grpc.aio.Channel, issuer: Issuer, behaviour: Any
    ) -> None:
        for scopes in (
            [],
            ["admin"],
            ["subjects.any"],
            ["users"],
            ["users.read.x"],
            ["USERS.READ"],
        ):
            code, info = await refusal_of(get(channel, bearer(issuer.mint("ada", scopes))))
            assert (code, info.reason) == (PERMISSION_DENIED, "SCOPE_MISSING")
            assert dict(info.metadata) == {"scope": "users.read"}
        code, info = await refusal_of(
            subscribe(channel, bearer(issuer.mint("ada", ["users.read"])))
        )
        assert (code, info.reason) == (PERMISSION_DENIED, "SCOPE_MISSING")
        assert not behaviour.seen

    @pytest.mark.parametrize("user_id", ["bob", "", "ADA", "ada ", "service:tests"])
    @pytest.mark.parametrize("subject", ["ada", "service:tests"])
    async def test_others_data_is_closed(
        self, subject: str, user_id: str, channel: grpc.aio.Channel, issuer: Issuer, behaviour: Any
    ) -> None:
        metadata = bearer(issuer.mint(subject, ["users.read", "admin"]))
        code, info = await refusal_of(get(channel, metadata, pb.GetUserRequest(user_id=user_id)))
        assert (code, info.reason) == (PERMISSION_DENIED, "SUBJECT_MISMATCH")
        assert dict(info.metadata) == {"field": "user_id"}
        assert not behaviour.seen

    async def test_others_streams_are_closed(
        self, channel: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        metadata = bearer(issuer.mint("bob", ["notifications.read"]))
        code, info = await refusal_of(subscribe(channel, metadata))
        assert (code, info.reason) == (PERMISSION_DENIED, "SUBJECT_MISMATCH")

    async def test_a_service_may_touch_anybodys(
        self, channel: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        metadata = bearer(issuer.mint("service:x", ["users.read", "subjects.any"]))
        for user_id in ("ada", "bob", ""):
            await get(channel, metadata, pb.GetUserRequest(user_id=user_id))

    async def test_a_nested_subject(self, channel: grpc.aio.Channel, issuer: Issuer) -> None:
        create = pb_grpc.UserServiceStub(channel).CreateUser
        metadata = bearer(issuer.mint("ada", ["users.write"]))
        await create(pb.CreateUserRequest(user=user_pb2.User(id="ada")), metadata=metadata)
        for request in (
            pb.CreateUserRequest(),
            pb.CreateUserRequest(user=user_pb2.User()),
            pb.CreateUserRequest(user=user_pb2.User(id="bob")),
        ):
            _, info = await refusal_of(create(request, metadata=metadata))
            assert info.reason == "SUBJECT_MISMATCH"
            assert dict(info.metadata) == {"field": "user.id"}

    async def test_bytes_that_are_no_message_come_after_the_token(
        self, channel: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        make = channel.unary_unary("/marquee.user.v1.UserService/GetUser")
        _, info = await refusal_of(make(b"\xff\xff"))
        assert info.reason == "TOKEN_MISSING"
        _, info = await refusal_of(make(b"\xff\xff", metadata=bearer(issuer.mint("ada"))))
        assert info.reason == "INVALID_FIELD"


class Rows(interaction_grpc.InteractionServiceServicer):
    async def RecordInteractions(self, request: Any, context: Any) -> Any:
        return interaction_pb.RecordInteractionsResponse()


class Recommendations(recommendation_grpc.RecommendationServiceServicer):
    async def Recommend(self, request: Any, context: Any) -> Any:
        return recommendation_pb.RecommendResponse()


UNDECLARED = (
    "marquee.test.v1.Undeclared",
    # Like those that need no token, but for their ends.
    "grpc.health.v1.HealthX",
    "grpc.health.evil",
    "grpc.reflection.v1alpha.ServerReflectionX",
)


def _add_undeclared(_: Any, server: grpc.aio.Server) -> None:
    async def act(request: bytes, context: Any) -> bytes:
        return b"done"

    handlers = {"Act": grpc.unary_unary_rpc_method_handler(act)}
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, handlers) for name in UNDECLARED)
    )


@pytest.fixture
async def others(trusted_issuer: Issuer) -> AsyncIterator[grpc.aio.Channel]:
    """A server of RPCs with other policies, and of one that no contract declares."""
    settings: Any = MeshSettings(
        listen="127.0.0.1:0",
        mongodb_uri="mongodb://127.0.0.1:1",
        kafka_bootstrap="127.0.0.1:1",
        drain_seconds=0,
        grace_seconds=0.2,
    )
    server = MeshServer(
        settings,
        [
            Registration(
                "marquee.reco.v1.InteractionService",
                Rows(),
                interaction_grpc.add_InteractionServiceServicer_to_server,
            ),
            Registration(
                "marquee.reco.v1.RecommendationService",
                Recommendations(),
                recommendation_grpc.add_RecommendationServiceServicer_to_server,
            ),
            Registration("marquee.test.v1.Undeclared", None, _add_undeclared),
        ],
    )
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.drain()


class TestOtherPolicies:
    async def test_every_row_is_the_callers_own(
        self, others: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        record = interaction_grpc.InteractionServiceStub(others).RecordInteractions
        metadata = bearer(issuer.mint("ada", ["interactions.write"]))

        def rows(*user_ids: str) -> interaction_pb.RecordInteractionsRequest:
            return interaction_pb.RecordInteractionsRequest(
                interactions=[interaction_pb.Interaction(user_id=user_id) for user_id in user_ids]
            )

        await record(rows(*["ada"] * 1000), metadata=metadata)
        for request in (
            rows(),
            rows(""),
            rows("bob"),
            rows(*["ada"] * 999, "bob"),
            rows("ada", ""),
        ):
            code, info = await refusal_of(record(request, metadata=metadata))
            assert (code, info.reason) == (PERMISSION_DENIED, "SUBJECT_MISMATCH")
            assert dict(info.metadata) == {"field": "interactions.user_id"}
        service = bearer(issuer.mint("service:x", ["interactions.write", "subjects.any"]))
        await record(rows("ada", "bob", ""), metadata=service)

    async def test_an_optional_subject_may_be_left_out(
        self, others: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        recommend = recommendation_grpc.RecommendationServiceStub(others).Recommend
        metadata = bearer(issuer.mint("ada", ["recommendations.read"]))
        for user_id in ("", "ada"):
            request = recommendation_pb.RecommendRequest(user_id=user_id)
            await recommend(request, metadata=metadata)
        request = recommendation_pb.RecommendRequest(user_id="bob")
        _, info = await refusal_of(recommend(request, metadata=metadata))
        assert info.reason == "SUBJECT_MISMATCH"

    @pytest.mark.parametrize("service", UNDECLARED)
    async def test_what_no_contract_declares_is_closed_to_all(
        self, service: str, others: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        act = others.unary_unary(f"/{service}/Act")
        code, info = await refusal_of(act(b"", metadata=bearer(issuer.mint())))
        assert (code, info.reason) == (PERMISSION_DENIED, "POLICY_MISSING")
        code, info = await refusal_of(act(b""))
        assert (code, info.reason) == (UNAUTHENTICATED, "TOKEN_MISSING")


class TestExpiry:
    async def test_a_stream_ends_with_its_token(
        self, channel: grpc.aio.Channel, issuer: Issuer
    ) -> None:
        expiry = int(time.time()) + 2
        metadata = bearer(issuer.mint("ada", ["notifications.read"], exp=expiry))
        stream = subscribe(channel, metadata)
        assert (await stream.read()).cursor == "1"
        code, info = await refusal_of(stream)
        assert (code, info.reason) == (UNAUTHENTICATED, "TOKEN_EXPIRED")
        assert expiry - 0.1 <= time.time() < expiry + 10
        _, info = await refusal_of(subscribe(channel, metadata))
        assert info.reason == "TOKEN_EXPIRED"

    async def test_the_leeway_counts_for_streams_too(
        self, serve: Serve, issuer: Issuer, behaviour: Any, running: Any
    ) -> None:
        lenient = await serve(auth_leeway_seconds=300)
        metadata = bearer(issuer.mint("ada", ["notifications.read"], exp=int(time.time()) - 10))
        async with grpc.aio.insecure_channel(lenient.address) as channel:
            stream = subscribe(channel, metadata)
            assert (await stream.read()).cursor == "1"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await stream.read()

    async def test_a_call_under_way_is_finished(
        self, channel: grpc.aio.Channel, issuer: Issuer, behaviour: Any
    ) -> None:
        async def unary(request: Any, context: Any) -> None:
            await asyncio.sleep(2.5)

        behaviour.unary = unary
        token = issuer.mint("ada", ["users.read"], exp=int(time.time()) + 2)
        assert (await get(channel, bearer(token))).user.id == "ada"
