"""The mesh as its users see it: every service behind one address, the edge."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import grpc
from marquee.notify.v1.notification_service_pb2_grpc import NotificationServiceStub
from marquee.reco.v1.catalog_service_pb2_grpc import CatalogServiceStub
from marquee.reco.v1.interaction_service_pb2_grpc import InteractionServiceStub
from marquee.reco.v1.model_service_pb2_grpc import ModelServiceStub
from marquee.reco.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from marquee.user.v1.user_service_pb2_grpc import UserServiceStub

from cli.address import Edge
from cli.errors import CliError
from cli.rpc_errors import RpcFailed
from mesh.peers import open_channel

_CONNECT_PATIENCE_S = 5.0
_PATIENCE_S = 30.0
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


class Mesh:
    """The services, called through one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.users = UserServiceStub(channel)
        self.catalog = CatalogServiceStub(channel)
        self.interactions = InteractionServiceStub(channel)
        self.recommendations = RecommendationServiceStub(channel)
        self.models = ModelServiceStub(channel)
        self.notifications = NotificationServiceStub(channel)


@asynccontextmanager
async def connect(edge: Edge) -> AsyncIterator[Mesh]:
    """Opens the mesh behind an edge.

    Args:
        edge: Where it is, and the tokens for it.

    Raises:
        CliError: Nothing answers there.
        RpcFailed: A call inside of the context failed and nobody caught its error.
    """
    # gRPC's core writes to the terminal what is told here in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    async with open_channel(edge.address, token_source=edge.tokens, tls=edge.tls) as channel:
        if not await _answers(channel):
            if edge.tls is not None:
                raise CliError(
                    f"no TLS connection to {edge.address}: nothing answers there, it is not "
                    f"certified by {edge.tls.authorities}, or it asks for another certificate"
                )
            raise CliError(
                f"nothing answers at {edge.address}: start the mesh with `marquee up`, "
                "or give the address of its edge with --edge or MARQUEE_EDGE"
            )
        try:
            yield Mesh(channel)
        except grpc.aio.AioRpcError as error:
            raise RpcFailed(error, edge.address, str(edge.tokens)) from error


async def _answers(channel: grpc.aio.Channel) -> bool:
    """Tells whether a connection can be made; a refusal is an answer as good as silence."""
    try:
        async with asyncio.timeout(_CONNECT_PATIENCE_S):
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    return False
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        return False
    return True


async def patiently(
    method: Callable[[RequestT], Awaitable[ReplyT]],
    request: RequestT,
    *,
    patience_s: float = _PATIENCE_S,
) -> ReplyT:
    """Makes a call that is safe to repeat, again and again while its failure may pass.

    Args:
        method: A method of a stub.
        request: What to send.
        patience_s: After so many seconds a failure is final.

    Raises:
        grpc.aio.AioRpcError: The last failure.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + patience_s
    pause = _PAUSE_S
    while True:
        try:
            return await method(request)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _PASSING or loop.time() + pause > give_up_at:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
