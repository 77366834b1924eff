"""A server lives on after a call that ends grpc's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc
from support import requests_raw as raw
from support.requests import Rpc, rpcs

Serve = Callable[..., Awaitable[Any]]
UNREADABLE = raw.Oddity("a method that is no UTF-8", {b":path": b"{path}\xff"})


def _get_user() -> Rpc:
    return next(rpc for rpc in rpcs() if rpc.path.endswith("UserService/GetUser"))


async def _until_it_answers(users: pb_grpc.UserServiceStub) -> None:
    async with asyncio.timeout(30):
        while True:
            # A call that grpc had taken and not handed on is lost with the old server.
            with contextlib.suppress(grpc.aio.AioRpcError):
                reply = await users.GetUser(
                    pb.GetUserRequest(user_id="u1"), wait_for_ready=True, timeout=5
                )
                assert reply.user.id == "u1"
                return


async def test_a_method_that_is_no_utf8_ends_neither_the_server_nor_a_stream(
    serve: Serve, behaviour: Any
) -> None:
    running = await serve(grace_seconds=30)
    told = asyncio.Event()

    async def stream(request: Any, context: Any) -> AsyncIterator[int]:
        yield 0
        await told.wait()
        yield 1

    behaviour.stream = stream
    async with running.channel() as channel:
        under_way = notify_grpc.NotificationServiceStub(channel).Subscribe(
            notify_pb.SubscribeRequest(user_id="u1")
        )
        await under_way.read()

        for _ in range(3):
            await raw.call(running.address, _get_user(), UNREADABLE, message=b"", authorization="")
            await _until_it_answers(pb_grpc.UserServiceStub(channel))

        told.set()
        assert await under_way.read() is not grpc.aio.EOF


async def test_a_server_that_was_replaced_still_ends(serve: Serve) -> None:
    running = await serve(drain_seconds=0, grace_seconds=1)
    await raw.call(running.address, _get_user(), UNREADABLE, message=b"", authorization="")
    async with asyncio.timeout(20):
        await running.server.drain()
