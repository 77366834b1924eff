"""Calls from service to service: deadline, trace and retries go along; spans tell how it went."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc
from opentelemetry import trace
from opentelemetry.instrumentation.pymongo import PymongoInstrumentor
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from mesh import errors
from mesh.deadline import remaining_seconds
from mesh.mongo.client import connect
from mesh.peers import open_channel
from mesh.telemetry.spans import untraced_database

Serve = Callable[..., Awaitable[Any]]
GET = pb.GetUserRequest(user_id="u1")
SUBSCRIBE = notify_pb.SubscribeRequest(user_id="u1")
GET_NAME = "marquee.user.v1.UserService/GetUser"
SUBSCRIBE_NAME = "marquee.notify.v1.NotificationService/Subscribe"


async def spans_of(exporter: InMemorySpanExporter, name: str, kind: SpanKind) -> list[ReadableSpan]:
    """Waits for spans of that name, since the last of them end after the caller has its answer."""
    for _ in range(100):
        await asyncio.sleep(0.02)
        found = [s for s in exporter.get_finished_spans() if s.name == name and s.kind is kind]
        if found:
            return found
    raise AssertionError(f"no {kind} span {name}")


async def only_span(exporter: InMemorySpanExporter, name: str, kind: SpanKind) -> ReadableSpan:
    (found,) = await spans_of(exporter, name, kind)
    return found


async def test_a_call_without_deadline_gets_the_default(behaviour: Any, serve: Serve) -> None:
    async def handler(request: Any, context: Any) -> None:
        behaviour.seen.append(context.time_remaining())

    running = await serve()
    behaviour.unary = handler
    async with running.peer() as channel:
        users = pb_grpc.UserServiceStub(channel)
        await users.GetUser(GET)
        await users.GetUser(GET, timeout=20)
    default, asked = behaviour.seen
    assert 1 < default <= 2.1
    assert 15 < asked <= 20.1, "the default is no limit"


async def test_what_is_meant_for_this_machine_goes_past_a_proxy(
    behaviour: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await serve()
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")
    async with running.peer() as channel:
        await pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=20)


async def test_the_rest_of_a_deadline_is_handed_on(behaviour: Any, serve: Serve) -> None:
    running = await serve()
    async with running.peer() as channel:
        users = pb_grpc.UserServiceStub(channel)

        async def outer(request: Any, context: Any) -> None:
            if request.user_id == "inner":
                behaviour.seen.append(context.time_remaining())
                return
            await asyncio.sleep(0.2)
            await users.GetUser(pb.GetUserRequest(user_id="inner"))
            await users.GetUser(pb.GetUserRequest(user_id="inner"), timeout=30)

        behaviour.unary = outer
        await users.GetUser(GET, timeout=1.5)
    assert len(behaviour.seen) == 2
    assert all(0 < remaining <= 1.35 for remaining in behaviour.seen)
    assert remaining_seconds() is None


async def test_spans_tell_the_deadline_of_every_hop(
    behaviour: Any, serve: Serve, spans: InMemorySpanExporter
) -> None:
    running = await serve()
    async with running.peer() as channel:
        users = pb_grpc.UserServiceStub(channel)

        async def outer(request: Any, context: Any) -> None:
            if request.user_id == "inner":
                return
            await asyncio.sleep(0.2)
            await users.GetUser(pb.GetUserRequest(user_id="inner"))

        behaviour.unary = outer
        await users.GetUser(GET, timeout=10)
    await asyncio.sleep(0.1)
    found = sorted(spans.get_finished_spans(), key=lambda span: span.start_time or 0)
    assert [span.kind for span in found] == [SpanKind.CLIENT, SpanKind.SERVER] * 2
    first, second, third, fourth = (span.attributes["marquee.rpc.deadline_s"] for span in found)
    # grpc sends a timeout with few digits, rounded up.
    assert 10 >= first >= second - 0.5
    assert second - 0.15 >= third >= fourth - 0.5
    assert fourth > 0


async def test_one_trace_from_caller_to_server_and_on(
    behaviour: Any, serve: Serve, spans: InMemorySpanExporter
) -> None:
    running = await serve()
    async with running.peer() as channel:
        users = pb_grpc.UserServiceStub(channel)

        async def outer(request: Any, context: Any) -> None:
            if request.user_id == "u1":
                await users.GetUser(pb.GetUserRequest(user_id="inner"))

        behaviour.unary = outer
        with trace.get_tracer("test").start_as_current_span("root") as root:
            await users.GetUser(GET)
            assert trace.get_current_span() is root
    await asyncio.sleep(0.1)
    clients = await spans_of(spans, GET_NAME, SpanKind.CLIENT)
    servers = await spans_of(spans, GET_NAME, SpanKind.SERVER)
    assert (len(clients), len(servers)) == (2, 2)
    trace_id = root.get_span_context().trace_id
    assert {span.context.trace_id for span in (*clients, *servers)} == {trace_id}
    parents = {span.context.span_id: span.parent for span in (*clients, *servers)}
    by_start = sorted((*clients, *servers), key=lambda span: span.start_time or 0)
    chain = [root.get_span_context().span_id, *(span.context.span_id for span in by_start)]
    for parent, child in itertools.pairwise(chain):
        assert parents[child].span_id == parent
    assert clients[0].attributes["server.port"] == int(running.address.rpartition(":")[2])
    assert clients[0].attributes["rpc.response.status_code"] == "OK"
    assert servers[0].attributes["rpc.response.status_code"] == "OK"


@pytest.mark.parametrize(
    ("error", "code", "server_fault"),
    [
        (errors.NotFound("user", "u1"), "NOT_FOUND", False),
        (errors.StaleEtag("user", "u1"), "ABORTED", False),
        (errors.FailedPrecondition("A", "b"), "FAILED_PRECONDITION", False),
        (RuntimeError("secret"), "INTERNAL", True),
        (errors.DeadlineExceeded(1), "DEADLINE_EXCEEDED", True),
    ],
)
async def test_spans_of_failures(
    behaviour: Any,
    serve: Serve,
    spans: InMemorySpanExporter,
    error: Exception,
    code: str,
    server_fault: bool,
) -> None:
    async def handler(request: Any, context: Any) -> None:
        raise error

    running = await serve()
    behaviour.unary = handler
    async with running.peer() as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await pb_grpc.UserServiceStub(channel).GetUser(GET)
        client = await only_span(spans, GET_NAME, SpanKind.CLIENT)
    server = await only_span(spans, GET_NAME, SpanKind.SERVER)
    assert client.attributes["rpc.response.status_code"] == code
    assert client.attributes["error.type"] == code
    assert client.status.status_code is StatusCode.ERROR
    assert server.attributes["rpc.response.status_code"] == code
    assert server.attributes.get("error.type") == (code if server_fault else None)
    assert server.status.status_code is (StatusCode.ERROR if server_fault else StatusCode.UNSET)
    assert "secret" not in server.to_json()


async def test_an_abort_by_the_handler_keeps_its_code(
    behaviour: Any, serve: Serve, spans: InMemorySpanExporter
) -> None:
    async def handler(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.DATA_LOSS, "gone")

    running = await serve()
    behaviour.unary = handler
    async with running.peer() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.UserServiceStub(channel).GetUser(GET)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    server = await only_span(spans, GET_NAME, SpanKind.SERVER)
    assert server.attributes["rpc.response.status_code"] == "DATA_LOSS"
    assert server.status.status_code is StatusCode.ERROR


async def wait_for_ever(request: Any, context: Any) -> None:
    await asyncio.Event().wait()


async def test_a_cancelled_call(behaviour: Any, serve: Serve, spans: InMemorySpanExporter) -> None:
    running = await serve()
    behaviour.unary = wait_for_ever
    async with running.peer() as channel:
        call = asyncio.ensure_future(
            _awaited(pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=20))
        )
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        for kind in (SpanKind.CLIENT, SpanKind.SERVER):
            span = await only_span(spans, GET_NAME, kind)
            assert span.attributes["rpc.response.status_code"] == "CANCELLED"


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


async def test_a_call_whose_caller_has_no_more_time(
    behaviour: Any, serve: Serve, spans: InMemorySpanExporter
) -> None:
    running = await serve()
    behaviour.unary = wait_for_ever
    async with running.peer() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for kind in (SpanKind.CLIENT, SpanKind.SERVER):
            span = await only_span(spans, GET_NAME, kind)
            assert span.attributes["rpc.response.status_code"] == "DEADLINE_EXCEEDED"


async def test_a_stream_is_one_span(
    behaviour: Any, serve: Serve, spans: InMemorySpanExporter
) -> None:
    seen: list[int] = []

    async def stream(request: Any, context: Any) -> AsyncIterator[int]:
        for number in range(3):
            seen.append(trace.get_current_span().get_span_context().span_id)
            yield number

    running = await serve()
    behaviour.stream = stream
    async with running.peer() as channel:
        replies = notify_grpc.NotificationServiceStub(channel).Subscribe(SUBSCRIBE)
        assert [reply.cursor async for reply in replies] == ["0", "1", "2"]
        client = await only_span(spans, SUBSCRIBE_NAME, SpanKind.CLIENT)
    server = await only_span(spans, SUBSCRIBE_NAME, SpanKind.SERVER)
    assert server.parent.span_id == client.context.span_id
    assert set(seen) == {server.context.span_id}


async def test_an_abandoned_stream_ends_its_spans_without_noise(
    behaviour: Any, serve: Serve, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    async def stream(request: Any, context: Any) -> AsyncIterator[str]:
        while True:
            yield "x" * 100_000

    running = await serve()
    behaviour.stream = stream
    with capture_logs() as logged:
        async with running.peer() as channel:
            call = notify_grpc.NotificationServiceStub(channel).Subscribe(SUBSCRIBE)
            await call.read()
            await asyncio.sleep(0.2)  # until the server waits for room
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call.code()
            for kind in (SpanKind.CLIENT, SpanKind.SERVER):
                span = await only_span(spans, SUBSCRIBE_NAME, kind)
                assert span.attributes["rpc.response.status_code"] == "CANCELLED"
    assert not logged
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]


async def test_what_is_safe_to_repeat_is_repeated(behaviour: Any, serve: Serve) -> None:
    async def handler(request: Any, context: Any) -> None:
        behaviour.seen.append(request)
        if len(behaviour.seen) < 3:
            raise errors.Unavailable("AWAY", "away")

    running = await serve()
    behaviour.unary = handler
    async with running.peer() as channel:
        users = pb_grpc.UserServiceStub(channel)
        assert (await users.GetUser(GET)).user.id == "u1"
        assert len(behaviour.seen) == 3
        behaviour.seen.clear()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await users.CreateUser(pb.CreateUserRequest())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert len(behaviour.seen) == 1


async def test_a_peer_that_is_away(spans: InMemorySpanExporter, free_port: Any) -> None:
    async with open_channel(f"127.0.0.1:{free_port()}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.UserServiceStub(channel).GetUser(GET)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        span = await only_span(spans, GET_NAME, SpanKind.CLIENT)
    assert span.attributes["error.type"] == "UNAVAILABLE"


def counts(reader: InMemoryMetricReader, name: str) -> dict[str, int]:
    """Returns how often each status code was measured."""
    data = reader.get_metrics_data()
    return {
        str(point.attributes["rpc.response.status_code"]): point.count
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name and metric.unit == "s"
        for point in metric.data.data_points
        if point.attributes["rpc.method"] == GET_NAME
    }


async def test_durations_are_measured(
    behaviour: Any, serve: Serve, measurements: InMemoryMetricReader
) -> None:
    async def handler(request: Any, context: Any) -> None:
        if request.user_id == "nobody":
            raise errors.NotFound("user", "nobody")

    running = await serve()
    behaviour.unary = handler
    before = [counts(measurements, f"rpc.{side}.call.duration") for side in ("server", "client")]
    async with running.peer() as channel:
        users = pb_grpc.UserServiceStub(channel)
        await users.GetUser(GET)
        await users.GetUser(GET)
        with pytest.raises(grpc.aio.AioRpcError):
            await users.GetUser(pb.GetUserRequest(user_id="nobody"))
        await asyncio.sleep(0.1)
    for side, earlier in zip(("server", "client"), before, strict=True):
        found = counts(measurements, f"rpc.{side}.call.duration")
        assert found["OK"] - earlier.get("OK", 0) == 2
        assert found["NOT_FOUND"] - earlier.get("NOT_FOUND", 0) == 1


async def test_what_a_call_does_in_the_database_belongs_to_it(
    behaviour: Any, serve: Serve, spans: InMemorySpanExporter, mongodb_uri: str
) -> None:
    instrumentor = PymongoInstrumentor()
    instrumentor.instrument(tracer_provider=trace.get_tracer_provider())
    client = connect(mongodb_uri, "test")
    try:

        async def handler(request: Any, context: Any) -> None:
            await client["test"]["things"].find_one({})
            with untraced_database():
                await client["test"]["things"].count_documents({})

        running = await serve()
        behaviour.unary = handler
        async with running.peer() as channel:
            await pb_grpc.UserServiceStub(channel).GetUser(GET)
        server = await only_span(spans, GET_NAME, SpanKind.SERVER)
        database = [s for s in spans.get_finished_spans() if s.name.startswith("test.")]
        assert [span.name for span in database] == ["test.find"]
        assert database[0].parent.span_id == server.context.span_id
    finally:
        await client.close()
        instrumentor.uninstrument()
