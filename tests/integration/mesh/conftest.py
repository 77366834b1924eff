"""A real server of the mesh with a servicer that does what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_pb2, user_service_pb2_grpc
from marquee.user.v1 import user_service_pb2 as user_pb
from support.tokens import BearerChannel, Issuer

from mesh.peers import open_channel
from mesh.server import MeshServer, Registration
from mesh.settings import MeshSettings

Context = grpc.aio.ServicerContext[Any, Any]


async def _answer(request: Any, context: Context) -> None:
    return None


async def _no_stream(request: Any, context: Context) -> AsyncIterator[int]:
    for number in range(3):
        yield number


@dataclass
class Behaviour:
    """What the handlers do, and what they saw."""

    unary: Callable[[Any, Context], Awaitable[Any]] = _answer
    stream: Callable[[Any, Context], AsyncIterator[int]] = _no_stream
    seen: list[Any] = field(default_factory=list)


class Users(user_service_pb2_grpc.UserServiceServicer):
    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    async def GetUser(
        self, request: user_pb.GetUserRequest, context: Context
    ) -> user_pb.GetUserResponse:
        answer = await self._behaviour.unary(request, context)
        return answer or user_pb.GetUserResponse(user=user_pb2.User(id=request.user_id))

    async def CreateUser(
        self, request: user_pb.CreateUserRequest, context: Context
    ) -> user_pb.CreateUserResponse:
        await self._behaviour.unary(request, context)
        return user_pb.CreateUserResponse(user=request.user)


class Notifications(notify_grpc.NotificationServiceServicer):
    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    async def Subscribe(
        self, request: notify_pb.SubscribeRequest, context: Context
    ) -> AsyncIterator[notify_pb.SubscribeResponse]:
        async for number in self._behaviour.stream(request, context):
            yield notify_pb.SubscribeResponse(cursor=str(number))


@dataclass(frozen=True)
class Running:
    server: MeshServer
    address: str
    draining: asyncio.Event
    issuer: Issuer

    def channel(self, token: str | None = None) -> BearerChannel:
        """A plain channel; None: with the token of a service that may do everything."""
        return BearerChannel(self.address, self.issuer.mint() if token is None else token)

    def peer(self) -> grpc.aio.Channel:
        """A channel as services have them, with such tokens."""
        return open_channel(self.address, token_source=self.issuer.source())


def settings_for(**values: Any) -> MeshSettings:
    return MeshSettings(
        **{
            "listen": "127.0.0.1:0",
            "mongodb_uri": "mongodb://127.0.0.1:1",
            "kafka_bootstrap": "127.0.0.1:1",
            "drain_seconds": 0.1,
            "grace_seconds": 3,
            **values,
        }
    )


@asynccontextmanager
async def serving(behaviour: Behaviour, issuer: Issuer, **values: Any) -> AsyncIterator[Running]:
    draining = asyncio.Event()
    server = MeshServer(
        settings_for(**values),
        [
            Registration(
                "marquee.user.v1.UserService",
                Users(behaviour),
                user_service_pb2_grpc.add_UserServiceServicer_to_server,
            ),
            Registration(
                "marquee.notify.v1.NotificationService",
                Notifications(behaviour),
                notify_grpc.add_NotificationServiceServicer_to_server,
            ),
        ],
        draining=draining,
    )
    port = await server.start()
    await server.set_serving(True)
    try:
        yield Running(server, f"127.0.0.1:{port}", draining, issuer)
    finally:
        await server.drain()


@pytest.fixture
def behaviour() -> Behaviour:
    """What the handlers of `serve` do."""
    return Behaviour()


_SHORT = {"drain_seconds": 0, "grace_seconds": 0.2}


@pytest.fixture
async def serve(
    behaviour: Behaviour, trusted_issuer: Issuer
) -> AsyncIterator[Callable[..., Awaitable[Running]]]:
    """Starts servers on ports of their own; its keyword arguments are settings."""
    async with AsyncExitStack() as stack:

        async def start(**values: Any) -> Running:
            return await stack.enter_async_context(
                serving(behaviour, trusted_issuer, **{**_SHORT, **values})
            )

        yield start
