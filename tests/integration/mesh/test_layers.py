"""Layers around handlers of every kind, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from mesh.errors import Aborted, PermissionDenied
from mesh.interceptors.base import LayeredInterceptor, ServerCall
from mesh.interceptors.errors import ErrorLayer

_layer: ContextVar[str] = ContextVar("layer", default="none")
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream", "writes_itself"]


def judge(request: bytes) -> None:
    if request == b"forbidden":
        raise PermissionDenied("FORBIDDEN", "no")


class Recording:
    """A layer that notes who passes through it, sets a context variable and judges messages."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes
        self.calls: list[ServerCall] = []

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        self.calls.append(call)
        call.checks.append(judge)
        token = _layer.set(self._name)
        self._notes.append(f"enter {self._name}")
        try:
            yield
        except BaseException as error:
            self._notes.append(f"{type(error).__name__} in {self._name}")
            raise
        finally:
            self._notes.append(f"leave {self._name}")
            _layer.reset(token)  # raises in any other context than the one it was set in


def no_message(raw: bytes) -> bytes:
    if raw == b"unreadable":
        raise ValueError("secret")
    return raw


def act(request: bytes) -> bytes:
    if request == b"fail":
        raise Aborted("LOST", "lost")
    return request + b" " + _layer.get().encode()


class Handlers:
    """Echoes, adding what the innermost layer has set."""

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        return act(request)

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield act(b"first")
        if request == b"wait":
            await asyncio.Event().wait()
        yield act(request)

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b",".join([act(request) async for request in requests])

    async def stream_stream(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            yield act(request)

    async def writes_itself(self, request: bytes, context: Any) -> None:
        await context.write(act(b"first"))
        await context.write(act(request))


@pytest.fixture
def notes() -> list[str]:
    """What the layers noted."""
    return []


@pytest.fixture
def layers(notes: list[str]) -> list[Recording]:
    """Two layers, outermost first."""
    return [Recording("outer", notes), Recording("inner", notes)]


@pytest.fixture
async def channel(layers: list[Recording]) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server with a handler of every kind."""
    handlers = Handlers()
    make = {
        "unary_unary": grpc.unary_unary_rpc_method_handler,
        "unary_stream": grpc.unary_stream_rpc_method_handler,
        "stream_unary": grpc.stream_unary_rpc_method_handler,
        "stream_stream": grpc.stream_stream_rpc_method_handler,
        "writes_itself": grpc.unary_stream_rpc_method_handler,
    }
    stack = [layers[0], ErrorLayer(), layers[1]]
    interceptor = LayeredInterceptor(stack, infrastructure=[ErrorLayer()])
    server = grpc.aio.server(interceptors=[interceptor])
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "test.Kinds",
                {
                    kind: make[kind](getattr(handlers, kind), request_deserializer=no_message)
                    for kind in KINDS
                },
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(0)


async def call(channel: grpc.aio.Channel, kind: str, *requests: bytes) -> list[bytes]:
    path = f"/test.Kinds/{kind}"
    metadata = (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\x00"))
    make: Callable[..., Any] = {
        "unary_unary": channel.unary_unary,
        "stream_unary": channel.stream_unary,
        "stream_stream": channel.stream_stream,
    }.get(kind, channel.unary_stream)
    takes_stream = kind.startswith("stream")
    begun = make(path)(iter(requests) if takes_stream else requests[0], metadata=metadata)
    if kind.endswith("_unary"):
        return [await begun]
    return [reply async for reply in begun]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_runs_within_the_layers(
    kind: str, channel: grpc.aio.Channel, layers: list[Recording], notes: list[str]
) -> None:
    replies = await call(channel, kind, b"a")
    assert replies[-1] == b"a inner"
    await asyncio.sleep(0.05)
    assert notes == ["enter outer", "enter inner", "leave inner", "leave outer"]
    seen = layers[0].calls[0]
    assert seen.method == f"/test.Kinds/{kind}"
    assert seen.metadata["x-a"] == "2"
    assert "x-b-bin" not in seen.metadata


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_passes_through_every_layer(
    kind: str, channel: grpc.aio.Channel, notes: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, kind, b"fail")
    assert caught.value.code() is grpc.StatusCode.ABORTED
    await asyncio.sleep(0.05)
    assert notes == [
        "enter outer",
        "enter inner",
        "Aborted in inner",
        "leave inner",
        "AbortError in outer",
        "leave outer",
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unreadable_request_is_the_callers_fault(
    kind: str, channel: grpc.aio.Channel
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, kind, b"unreadable")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [0, 2])
async def test_every_message_is_judged(kind: str, before: int, channel: grpc.aio.Channel) -> None:
    requests = [b"a"] * before if kind.startswith("stream") else []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, kind, *requests, b"forbidden")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_streams_both_ways_take_turns(channel: grpc.aio.Channel) -> None:
    both = channel.stream_stream("/test.Kinds/stream_stream")()
    for request in (b"a", b"b", b"c"):
        await both.write(request)
        assert await both.read() == request + b" inner"
    await both.done_writing()
    assert await both.read() is grpc.aio.EOF


async def test_a_caller_who_goes_away_passes_through_every_layer(
    channel: grpc.aio.Channel, notes: list[str]
) -> None:
    begun = channel.unary_stream("/test.Kinds/unary_stream")(b"wait")
    await begun.read()
    begun.cancel()
    await asyncio.sleep(0.2)
    assert notes[2:] == [
        "CancelledError in inner",
        "leave inner",
        "CancelledError in outer",
        "leave outer",
    ]


async def test_calls_at_the_same_time_do_not_see_each_other(channel: grpc.aio.Channel) -> None:
    replies = await asyncio.gather(
        *(call(channel, kind, str(number).encode()) for number in range(20) for kind in KINDS[:2])
    )
    assert all(reply[-1].endswith(b" inner") for reply in replies)
    assert _layer.get() == "none"


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    for make in (channel.unary_unary, channel.unary_stream):
        call: Any = make("/test.Kinds/nothing")(b"")
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
        status = await rpc_status.aio.from_call(call)
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.reason == "NO_SUCH_METHOD"
