"""What those who show no token can take from others, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_status import rpc_status
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc

Serve = Callable[..., Awaitable[Any]]
GET = pb.GetUserRequest(user_id="u1")


async def test_streams_that_need_no_token_are_bounded(serve: Serve) -> None:
    running = await serve(max_concurrent_rpcs=1)
    async with running.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)

        def watch() -> Any:
            return health.Watch(health_pb2.HealthCheckRequest(), timeout=60)

        watches = [watch() for _ in range(200)]
        await asyncio.gather(*(stream.read() for stream in watches))
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        for stream in (watch(), reflection.ServerReflectionInfo(timeout=60)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stream.read()
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            status = await rpc_status.aio.from_call(stream)
            info = error_details_pb2.ErrorInfo()
            assert any(detail.Unpack(info) for detail in status.details)
            assert info.reason == "TOO_MANY_CALLS"
        assert (await pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=20)).user.id == "u1"
        await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        for stream in watches:
            stream.cancel()
        async with asyncio.timeout(20):
            while True:
                try:
                    await watch().read()
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)


async def test_who_sends_no_message_holds_no_call(behaviour: Any, serve: Serve) -> None:
    running = await serve()

    async def silence() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def nothing() -> AsyncIterator[bytes]:
        for _ in ():
            yield b""

    path = "/marquee.user.v1.UserService/GetUser"
    async with grpc.aio.insecure_channel(running.address) as channel:
        async with asyncio.timeout(20):
            anonymous = channel.stream_unary(path)(silence())
            assert await anonymous.code() is grpc.StatusCode.UNAUTHENTICATED
            token = [("authorization", f"Bearer {running.issuer.mint()}")]
            slow = channel.stream_unary(path)(silence(), metadata=token)
            assert await slow.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            empty = channel.stream_unary(path)(nothing(), metadata=token)
            assert await empty.code() is grpc.StatusCode.INVALID_ARGUMENT
