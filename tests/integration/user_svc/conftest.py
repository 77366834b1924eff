"""The user service over a real socket, on a database of each test's own, without a broker."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from marquee.events.v1 import events_pb2
from marquee.user.v1 import user_service_pb2_grpc
from pymongo.asynchronous.database import AsyncDatabase

import user_svc.bootstrap
from mesh.mongo.client import Document
from mesh.settings import MeshSettings

_EVENTS = {
    kind.DESCRIPTOR.full_name: kind for kind in (events_pb2.UserChanged, events_pb2.UserDeleted)
}


@dataclass
class UserWorld:
    stub: Any
    channel: grpc.aio.Channel
    database: AsyncDatabase[Document]

    async def announced(self) -> list[Message]:
        """The events in the outbox, in the order in which they would leave."""
        rows = await self.database["outbox"].find().sort([("key", 1), ("sequence", 1)]).to_list()
        return [
            _EVENTS[row["headers"]["ce_type"].decode()].FromString(row["value"]) for row in rows
        ]


@pytest.fixture
async def world(
    mongodb_uri: str,
    mongo_database: AsyncDatabase[Document],
    serve_application: Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[UserWorld]:
    monkeypatch.setattr(user_svc.bootstrap, "DATABASE", mongo_database.name)
    settings: Any = MeshSettings(
        listen="127.0.0.1:0",
        mongodb_uri=mongodb_uri,
        kafka_bootstrap="127.0.0.1:1",  # nobody is there, and nobody is asked
        drain_seconds=0,
        grace_seconds=1,
    )
    application = await user_svc.bootstrap.bootstrap(settings)
    database_only = application.components[:1]
    async with serve_application(settings, application, components=database_only) as channel:
        stub = user_service_pb2_grpc.UserServiceStub(channel)
        yield UserWorld(stub, channel, mongo_database)
