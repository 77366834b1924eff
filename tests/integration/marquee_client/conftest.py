"""A server whose answers a test decides, and the real notification service on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest
from marquee.events.v1 import events_pb2
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1 import user_service_pb2_grpc as user_grpc
from pymongo.asynchronous.database import AsyncDatabase
from support.tokens import Issuer

import notify_svc.bootstrap
from mesh.events import new_event
from mesh.mongo.client import Client, Document
from mesh.mongo.migrations import migrate
from notify_svc.events import EventRouter
from notify_svc.live import LiveHub
from notify_svc.service import NotificationService
from notify_svc.settings import NotifySettings
from notify_svc.store import SPECS, MongoNotifications

Handler = Callable[[Any, Any], Awaitable[None]]


class Scripted(user_grpc.UserServiceServicer, notify_grpc.NotificationServiceServicer):
    """Answers GetUser as its test says, and keeps what the calls brought along.

    Attributes:
        calls: The metadata of each call.
        seconds: What was left of each call's deadline.
    """

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        self.seconds: list[float | None] = []
        self.handler: Handler | None = None

    async def GetUser(self, request: Any, context: Any) -> user_pb.GetUserResponse:
        self.calls.append(dict(context.invocation_metadata()))
        self.seconds.append(context.time_remaining())
        if self.handler is not None:
            await self.handler(request, context)
        return user_pb.GetUserResponse()


class Edge:
    """Where the scripted server listens."""

    def __init__(self, address: str, script: Scripted) -> None:
        self.address = address
        self.script = script


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    script = Scripted()
    server = grpc.aio.server()
    user_grpc.add_UserServiceServicer_to_server(script, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Edge(f"127.0.0.1:{port}", script)
    await server.stop(0)


class NotifyWorld:
    """The notification service, again and again on the same port."""

    def __init__(
        self,
        settings: NotifySettings,
        serve: Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]],
        router: EventRouter,
    ) -> None:
        self.address = settings.listen
        self._settings = settings
        self._serve = serve
        self._router = router

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        application = await notify_svc.bootstrap.bootstrap(self._settings)
        async with self._serve(self._settings, application, components=application.components[:2]):
            yield

    async def notify(self, *titles: str) -> None:
        """Plans a notification to ada for each title."""
        for title in titles:
            message = events_pb2.RecommendationListChanged(
                user_id="ada",
                movies=[
                    events_pb2.RecommendedMovie(movie_id=title, title=title, because_titles=["x"])
                ],
                new_movie_ids=[title],
            )
            await self._router.handle(new_event("/test", "ada", 1, message))


@pytest.fixture
async def notify(
    mongo_client: Client,
    mongo_database: AsyncDatabase[Document],
    mongodb_uri: str,
    serve_application: Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]],
    free_port: Callable[[], int],
    trusted_issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
) -> NotifyWorld:
    monkeypatch.setattr(notify_svc.bootstrap, "DATABASE", mongo_database.name)
    await migrate(mongo_database, SPECS)
    settings: Any = NotifySettings(
        listen=f"127.0.0.1:{free_port()}",
        mongodb_uri=mongodb_uri,
        kafka_bootstrap="127.0.0.1:1",
        sweep_seconds=0.05,
        drain_seconds=0,
        grace_seconds=5,
    )
    store = MongoNotifications(mongo_client, mongo_database)
    hub = LiveHub(store.last_sequences, draining=asyncio.Event())
    return NotifyWorld(settings, serve_application, EventRouter(NotificationService(store, hub)))
