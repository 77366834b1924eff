"""A server lives on after a call that ends grpc's own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc
from structlog.testing import capture_logs
from support import requests_raw as raw
from support.requests import Rpc, rpcs
from support.tokens import Issuer

from mesh import lasting_server
from mesh.app import Application
from mesh.app import serve as serve_application
from mesh.lasting_server import LastingServer
from mesh.server import MeshServer
from mesh.settings import MeshSettings

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


async def _ended_by_itself(make: Callable[[], grpc.aio.Server], bind: Any) -> LastingServer:
    """Returns a server whose first server of grpc has ended, or is about to."""
    server = LastingServer(make, bind, failed=asyncio.Event(), grace_seconds=1)
    port = await server.start("127.0.0.1:0")
    await raw.call(f"127.0.0.1:{port}", _get_user(), UNREADABLE, message=b"", authorization="")
    return server


async def test_a_server_that_cannot_be_replaced_is_a_failure_of_the_process(
    monkeypatch: pytest.MonkeyPatch, trusted_issuer: Issuer, free_port: Callable[[], int]
) -> None:
    made: list[None] = []
    make = MeshServer._make_server

    def make_once(server: MeshServer) -> grpc.aio.Server:
        if made:
            raise RuntimeError("a bug")
        made.append(None)
        return make(server)

    monkeypatch.setattr(MeshServer, "_make_server", make_once)
    address = f"127.0.0.1:{free_port()}"
    settings = MeshSettings(
        listen=address,
        mongodb_uri="mongodb://127.0.0.1:1",
        kafka_bootstrap="127.0.0.1:1",
        drain_seconds=0,
        grace_seconds=1,
    )
    with capture_logs() as logged:
        serving = asyncio.create_task(
            serve_application(settings, Application([], []), signalled=asyncio.Event())
        )
        async with asyncio.timeout(30):
            while not any(line["event"] == "serving" for line in logged):
                await asyncio.sleep(0.02)
            await raw.call(address, _get_user(), UNREADABLE, message=b"", authorization="")
            assert await serving == 1
    (told,) = [line for line in logged if "cannot be replaced" in line["event"]]
    assert (told["log_level"], told["exc_info"]) == ("error", True)


async def test_a_port_that_stays_occupied_is_told_once_and_tried_less_and_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[float] = []
    monkeypatch.setattr(lasting_server, "_AGAIN_SECONDS", 0.01)

    def bind(server: grpc.aio.Server, address: str) -> int:
        tries.append(time.monotonic())
        if 1 < len(tries) < 8:
            raise OSError("cannot listen: in use")
        return server.add_insecure_port(address)

    with capture_logs() as logged:
        server = await _ended_by_itself(grpc.aio.server, bind)
        async with asyncio.timeout(30):
            while len(tries) < 8:
                await asyncio.sleep(0.02)
        await server.stop(0)
    (told,) = [line for line in logged if "port" in line["event"]]
    assert (told["log_level"], told["why"]) == ("error", "cannot listen: in use")
    assert tries[-1] - tries[1] > 5 * 0.01 * 4, "the pauses grow"


async def test_a_server_that_was_replaced_still_ends(serve: Serve) -> None:
    running = await serve(drain_seconds=0, grace_seconds=1)
    await raw.call(running.address, _get_user(), UNREADABLE, message=b"", authorization="")
    async with asyncio.timeout(20):
        await running.server.drain()
