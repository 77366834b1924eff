"""A subscription to a person's notifications that survives whatever ends its stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
from marquee.notify.v1 import notification_service_pb2 as pb

from cli.errors import CliError
from cli.mesh_client import Mesh
from cli.tracing import untraced

_PAUSE_S = 0.2
_FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class LiveStream:
    """What `subscribe` yields; `next` gives one notification after the other."""

    def __init__(self, mesh: Mesh, user_id: str) -> None:
        self._mesh = mesh
        self._user_id = user_id
        self._cursor = ""
        self._arrived: asyncio.Queue[pb.Notification | grpc.aio.AioRpcError] = asyncio.Queue()
        self._alive = asyncio.Event()

    async def next(self, timeout_s: float) -> pb.Notification:
        """Waits for the next notification.

        Raises:
            CliError: None arrived in time.
            grpc.aio.AioRpcError: The service refuses the subscription.
        """
        try:
            async with asyncio.timeout(timeout_s):
                arrived = await self._arrived.get()
        except TimeoutError:
            raise CliError(
                f"no notification reached {self._user_id} within {timeout_s:g} s"
            ) from None
        if isinstance(arrived, grpc.aio.AioRpcError):
            raise arrived
        return arrived

    def discard(self) -> None:
        """Drops what has arrived so far."""
        while not self._arrived.empty():
            self._arrived.get_nowait()

    async def until_alive(self) -> None:
        """Waits until the service has confirmed the subscription."""
        await self._alive.wait()

    async def listen(self) -> None:
        """Takes in messages until cancelled; a stream that ends is resumed where it ended.

        Raises:
            grpc.aio.AioRpcError: The service refuses the subscription.
        """
        while True:
            try:
                await self._listen_once()
            except grpc.aio.AioRpcError as error:
                if error.code() in _FINAL:
                    self._arrived.put_nowait(error)
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def _listen_once(self) -> None:
        request = pb.SubscribeRequest(user_id=self._user_id, cursor=self._cursor)
        call = self._mesh.notifications.Subscribe(request)
        try:
            async for message in call:
                self._cursor = message.cursor
                self._alive.set()
                if message.WhichOneof("event") == "notification":
                    self._arrived.put_nowait(message.notification)
        finally:
            call.cancel()


@asynccontextmanager
async def subscribe(
    mesh: Mesh, user_id: str, *, timeout_s: float = 15.0
) -> AsyncIterator[LiveStream]:
    """Subscribes to a person's notifications from now on.

    Args:
        mesh: Where.
        user_id: Whose.
        timeout_s: How long the service may take to confirm.

    Raises:
        CliError: The service does not confirm the subscription.
        grpc.aio.AioRpcError: It refuses it.
    """
    stream = LiveStream(mesh, user_id)
    with untraced():  # the stream lives as long as the demo; its trace would never be complete
        listening = asyncio.create_task(stream.listen())
    alive = asyncio.create_task(stream.until_alive())
    try:
        await asyncio.wait(
            {listening, alive}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if listening.done():
            listening.result()
        if not alive.done():
            raise CliError(f"the live stream of {user_id} did not begin within {timeout_s:g} s")
        yield stream
    finally:
        for task in (listening, alive):
            task.cancel()
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await listening
