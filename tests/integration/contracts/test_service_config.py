"""What grpc does with the service config, against a server that counts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from mesh import contracts
from mesh.peers import service_config

SAFE = "/marquee.user.v1.UserService/GetUser"
NEVER = "/marquee.user.v1.UserService/UpdateUser"

Handler = Callable[[str, grpc.aio.ServicerContext], Awaitable[bytes]]


class AnyMethod(grpc.GenericRpcHandler):
    """Counts the attempts that arrive for each path and answers with a handler."""

    def __init__(self, handler: Handler) -> None:
        self.attempts: Counter[str] = Counter()
        self._handler = handler

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def serve(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
            self.attempts[call.method] += 1
            return await self._handler(call.method, context)

        return grpc.unary_unary_rpc_method_handler(serve)


@asynccontextmanager
async def serving(
    handler: Handler, config: str | None = None
) -> AsyncIterator[tuple[AnyMethod, grpc.aio.Channel]]:
    methods = AnyMethod(handler)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((methods,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.service_config", config or service_config())]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield methods, channel
    finally:
        await server.stop(0)


async def code_of(channel: grpc.aio.Channel, path: str) -> grpc.StatusCode:
    return await channel.unary_unary(path)(b"", timeout=60).code()


async def unavailable(_: str, context: grpc.aio.ServicerContext) -> bytes:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
    raise AssertionError("abort raises")


def test_the_two_calls_differ() -> None:
    assert contracts.policies()[SAFE].retry_safe
    assert not contracts.policies()[NEVER].retry_safe


async def test_safe_calls_are_repeated_and_others_are_not() -> None:
    async with serving(unavailable) as (methods, channel):
        assert await code_of(channel, SAFE) is grpc.StatusCode.UNAVAILABLE
        assert await code_of(channel, NEVER) is grpc.StatusCode.UNAVAILABLE
    assert methods.attempts == {SAFE: 4, NEVER: 1}


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
    ],
)
async def test_nothing_but_unavailable_is_repeated(code: grpc.StatusCode) -> None:
    async def refuse(_: str, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(code, "no")
        raise AssertionError("abort raises")

    async with serving(refuse) as (methods, channel):
        assert await code_of(channel, SAFE) is code
    assert methods.attempts == {SAFE: 1}


async def test_a_passing_failure_is_not_seen() -> None:
    async def fails_once(path: str, context: grpc.aio.ServicerContext) -> bytes:
        return await unavailable(path, context) if methods.attempts[path] == 1 else b""

    async with serving(fails_once) as (methods, channel):
        assert await code_of(channel, SAFE) is grpc.StatusCode.OK
    assert methods.attempts == {SAFE: 2}


async def test_a_storm_of_retries_ends() -> None:
    """A bucket of 100 tokens lets 50 failures pass before nothing is repeated any more."""
    calls = 400
    async with serving(unavailable) as (methods, channel):
        gate = asyncio.Semaphore(20)

        async def call() -> None:
            async with gate:
                await code_of(channel, SAFE)

        await asyncio.gather(*(call() for _ in range(calls)))
    assert calls < methods.attempts[SAFE] <= calls + 50


async def test_a_call_ends_with_its_longest_timeout() -> None:
    """Shortened for the test; grpc takes up to two seconds off (grpc #34547)."""

    async def sleep(_: str, __: grpc.aio.ServicerContext) -> bytes:
        await asyncio.sleep(50)
        return b""

    config = json.loads(service_config())
    for entry in config["methodConfig"]:
        entry["timeout"] = "3s"
    async with serving(sleep, json.dumps(config)) as (methods, channel):
        assert await code_of(channel, SAFE) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert methods.attempts == {SAFE: 1}
