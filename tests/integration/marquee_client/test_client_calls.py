"""Both clients against a real server: what a call brings along, and what it does when it fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from marquee.user.v1 import user_service_pb2 as pb
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import marquee_client
from marquee_client import TokenError

ADA = pb.GetUserRequest(user_id="ada")


async def get(
    kind: str, edge: Any, *, times: int = 1, seconds: float | None = None, **how: Any
) -> None:
    """Calls GetUser with one of the clients."""
    if kind == "aio":
        async with marquee_client.aio.connect(edge.address, **how) as marquee:
            for _ in range(times):
                await marquee.users.GetUser(ADA, timeout=seconds)
        return

    def call() -> None:
        with marquee_client.connect(edge.address, **how) as marquee:
            for _ in range(times):
                marquee.users.GetUser(ADA, timeout=seconds)

    await asyncio.to_thread(call)


both = pytest.mark.parametrize("kind", ["sync", "aio"])


@both
async def test_a_call_brings_deadline_token_affinity_and_trace(
    kind: str, edge: Any, spans: InMemorySpanExporter
) -> None:
    await get(kind, edge, token="t.o.k")
    (sent,) = edge.script.calls
    (seconds,) = edge.script.seconds
    assert sent["authorization"] == "Bearer t.o.k"
    assert sent["x-marquee-affinity"] == "ada"
    assert 0 < seconds <= 2.1
    for _ in range(100):  # the span of an aio call ends after the caller has its answer
        if finished := spans.get_finished_spans():
            break
        await asyncio.sleep(0.02)
    (span,) = finished
    assert span.kind is SpanKind.CLIENT
    assert sent["traceparent"].split("-")[2] == format(span.context.span_id, "016x")
    assert span.attributes is not None
    assert span.attributes["server.port"] == int(edge.address.split(":")[1])
    assert span.attributes["rpc.response.status_code"] == "OK"


@both
async def test_a_timeout_of_ones_own_wins(kind: str, edge: Any) -> None:
    await get(kind, edge, seconds=1.0)
    await get(kind, edge, seconds=20.0)
    short, long = edge.script.seconds
    assert 0 < short <= 1.1
    assert 15 < long <= 20.1


@both
async def test_unavailable_is_tried_again(kind: str, edge: Any) -> None:
    async def fail_twice(_: Any, context: Any) -> None:
        if len(edge.script.calls) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    edge.script.handler = fail_twice
    await get(kind, edge, token="t")
    assert [call.get("grpc-previous-rpc-attempts") for call in edge.script.calls] == [
        None,
        "1",
        "2",
    ]
    assert {call["authorization"] for call in edge.script.calls} == {"Bearer t"}


@both
async def test_other_failures_are_not(kind: str, edge: Any, spans: InMemorySpanExporter) -> None:
    async def fail(_: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.INTERNAL, "broken")

    edge.script.handler = fail
    with (
        pytest.raises(marquee_client.CallFailed, match=r"^INTERNAL: broken$") as caught,
        marquee_client.errors.readable(),
    ):
        await get(kind, edge)
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert len(edge.script.calls) == 1


@both
async def test_a_token_file_that_changes_is_followed(kind: str, edge: Any, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")

    async def replace(_: Any, __: Any) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_text("two")
        fresh.replace(path)

    edge.script.handler = replace
    await get(kind, edge, token=path, times=2)
    assert [call["authorization"] for call in edge.script.calls] == ["Bearer one", "Bearer two"]


@both
async def test_without_its_token_no_call_is_sent(kind: str, edge: Any, tmp_path: Path) -> None:
    with pytest.raises(TokenError):
        await get(kind, edge, token=tmp_path / "missing")
    assert edge.script.calls == []


async def test_a_coroutine_may_give_the_token(edge: Any) -> None:
    async def give() -> str:
        await asyncio.sleep(0)
        return "from.a.coroutine"

    await get("aio", edge, token=give)
    assert edge.script.calls[0]["authorization"] == "Bearer from.a.coroutine"


async def test_a_stream_without_its_token_is_refused_here(edge: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    async with marquee_client.aio.connect(edge.address, token=missing) as marquee:
        with pytest.raises(TokenError):
            await anext(marquee.subscribe("ada"))
    with (
        marquee_client.connect(edge.address, token=missing) as blocking,
        pytest.raises(TokenError),
    ):
        next(blocking.subscribe("ada"))


async def test_a_stream_that_nobody_serves_is_refused(edge: Any) -> None:
    async with marquee_client.aio.connect(edge.address) as marquee:
        with pytest.raises(grpc.RpcError) as caught:
            await anext(marquee.subscribe("ada"))
    assert marquee_client.errors.details(caught.value).code is grpc.StatusCode.UNIMPLEMENTED
