"""The notification service over a real socket, on a database of each test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from marquee.events.v1 import events_pb2
from marquee.notify.v1 import notification_service_pb2 as pb
from marquee.notify.v1 import notification_service_pb2_grpc
from marquee.user.v1 import user_pb2
from pymongo.asynchronous.database import AsyncDatabase

import notify_svc.bootstrap
from mesh.app import Application
from mesh.events import Event, new_event
from mesh.mongo.client import Client, Document
from mesh.mongo.migrations import migrate
from notify_svc.events import EventRouter
from notify_svc.live import LiveHub
from notify_svc.service import NotificationService
from notify_svc.settings import NotifySettings
from notify_svc.store import SPECS, MongoNotifications


def list_changed(
    *movie_ids: str, user_id: str = "ada", because: tuple[str, ...] = ("Casino", "Fargo")
) -> Event:
    """A changed list of recommendations; each id is the title too."""
    message = events_pb2.RecommendationListChanged(
        user_id=user_id,
        movies=[
            events_pb2.RecommendedMovie(movie_id=movie, title=movie, because_titles=because)
            for movie in movie_ids
        ],
        new_movie_ids=movie_ids,
    )
    return new_event("/test", user_id, 1, message)


def user_changed(version: int, *muted: int, user_id: str = "ada", name: str = "Ada") -> Event:
    """A snapshot of a user who mutes these channels for recommendations."""
    message = events_pb2.UserChanged(
        user=user_pb2.User(id=user_id, display_name=name),
        preferences=user_pb2.Preferences(
            topics=[user_pb2.TopicPreference(topic="recommendations", muted_channels=muted)]
        ),
        version=version,
    )
    return new_event("/test", user_id, version, message)


def user_deleted(version: int, *, user_id: str = "ada") -> Event:
    message: Message = events_pb2.UserDeleted(user_id=user_id, version=version)
    return new_event("/test", user_id, version, message)


class NotifyWorld:
    """The database, a way to hand in events as the consumer would, and the running service."""

    def __init__(
        self,
        client: Client,
        database: AsyncDatabase[Document],
        uri: str,
        serve_application: Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]],
    ) -> None:
        self.database = database
        self._uri = uri
        self._serve = serve_application
        store = MongoNotifications(client, database)
        # A replica without subscribers: those of the running service hear of it by their sweep.
        hub = LiveHub(store.last_sequences, draining=asyncio.Event())
        self._router = EventRouter(NotificationService(store, hub))

    async def handle(self, *events: Event) -> None:
        for event in events:
            await self._router.handle(event)

    async def count(self, collection: str, **query: Any) -> int:
        return await self.database[collection].count_documents(query)

    def settings(self, **changes: Any) -> NotifySettings:
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "mongodb_uri": self._uri,
            "kafka_bootstrap": "127.0.0.1:1",
            "sweep_seconds": 0.05,
            "drain_seconds": 0,
            "grace_seconds": 20,
        }
        return NotifySettings(**{**values, **changes})

    @asynccontextmanager
    async def running(self, *, with_kafka: bool = False, **changes: Any) -> AsyncIterator[Any]:
        """Runs the service; gives a stub whose `application` and `channel` are at hand."""
        settings = self.settings(**changes)
        application: Application = await notify_svc.bootstrap.bootstrap(settings)
        components = None if with_kafka else application.components[:2]
        async with self._serve(settings, application, components=components) as channel:
            stub: Any = notification_service_pb2_grpc.NotificationServiceStub(channel)
            stub.application, stub.channel = application, channel
            yield stub


@pytest.fixture
async def world(
    mongo_client: Client,
    mongo_database: AsyncDatabase[Document],
    mongodb_uri: str,
    serve_application: Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]],
    monkeypatch: pytest.MonkeyPatch,
) -> NotifyWorld:
    monkeypatch.setattr(notify_svc.bootstrap, "DATABASE", mongo_database.name)
    await migrate(mongo_database, SPECS)
    return NotifyWorld(mongo_client, mongo_database, mongodb_uri, serve_application)


@pytest.fixture
def make() -> Any:
    """The makers of events."""

    class Make:
        list_changed = staticmethod(list_changed)
        user_changed = staticmethod(user_changed)
        user_deleted = staticmethod(user_deleted)

    return Make


@pytest.fixture
def read() -> Callable[[Any, int], Any]:
    """Reads a number of messages from a stream."""

    async def read(stream: Any, count: int) -> list[pb.SubscribeResponse]:
        messages: list[pb.SubscribeResponse] = []
        async with asyncio.timeout(30):
            while len(messages) < count:
                message = await stream.read()
                assert message is not grpc.aio.EOF, "the stream has ended"
                messages.append(message)
        return messages

    return read
