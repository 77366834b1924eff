"""A call that ended leaves nothing behind, also before the garbage collector comes by."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import psutil
import pytest
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc

from mesh.errors import NotFound

Serve = Callable[..., Awaitable[Any]]
REQUEST_BYTES = 6 << 20
CALLS = 24


class Held:
    """What a handler keeps in a local variable."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _call(channel: Any) -> None:
    await pb_grpc.UserServiceStub(channel).GetUser(pb.GetUserRequest(user_id="u1"))


async def _stream(channel: Any) -> None:
    request = notify_pb.SubscribeRequest(user_id="u1")
    async for _ in notify_grpc.NotificationServiceStub(channel).Subscribe(request):
        pass


@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.parametrize("call", [_call, _stream])
async def test_what_a_handler_held_is_let_go(
    serve: Serve,
    behaviour: Any,
    no_collector: None,
    eventually: Any,
    call: Callable[[Any], Awaitable[None]],
    refused: bool,
) -> None:
    running = await serve()
    alive: list[weakref.ref[Held]] = []

    async def unary(request: Any, context: Any) -> None:
        held = Held()
        alive.append(weakref.ref(held))
        if refused:
            raise NotFound("user", "u1")

    async def stream(request: Any, context: Any) -> AsyncIterator[int]:
        held = Held()
        alive.append(weakref.ref(held))
        yield 0
        if refused:
            raise NotFound("user", "u1")

    behaviour.unary, behaviour.stream = unary, stream
    async with running.channel() as channel:
        for _ in range(3):
            if refused:
                with pytest.raises(grpc.aio.AioRpcError):
                    await call(channel)
            else:
                await call(channel)

        async def all_gone() -> bool:
            return not any(held() for held in alive)

        await eventually(all_gone, within=10)
    assert len(alive) == 3


async def test_the_requests_of_refused_calls_are_let_go(
    serve: Serve, behaviour: Any, no_collector: None
) -> None:
    async def refuse(request: Any, context: Any) -> None:
        raise NotFound("user", "u1")

    behaviour.unary = refuse
    running = await serve()
    request = pb.CreateUserRequest()
    request.user.id = "a" * REQUEST_BYTES
    held = []
    async with running.channel() as channel:
        for _ in range(CALLS):
            with pytest.raises(grpc.aio.AioRpcError):
                await pb_grpc.UserServiceStub(channel).CreateUser(request)
            held.append(psutil.Process().memory_info().rss)
    # The first calls also grow what is used again and again.
    assert held[-1] - held[CALLS // 4] < CALLS // 4 * REQUEST_BYTES
