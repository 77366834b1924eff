"""The user service over a real socket, on a database of each test's own, without a broker."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from marquee.events.v1 import events_pb2
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc
from pymongo.asynchronous.database import AsyncDatabase
from support.tokens import Issuer

import notify_svc.bootstrap
import reco_svc.bootstrap
import user_svc.bootstrap
from mesh.events import Event
from mesh.mongo.client import Client, Document
from mesh.outbox.store import Outbox
from notify_svc.domain import ListChange
from notify_svc.events import EventRouter
from notify_svc.live import LiveHub
from notify_svc.service import NotificationService
from notify_svc.settings import NotifySettings
from notify_svc.store import MongoNotifications
from reco_svc.consumers import PeopleConsumer
from reco_svc.service.people import PeopleService
from reco_svc.settings import RecoSettings
from reco_svc.store import schema
from reco_svc.store.interactions import InteractionStore
from reco_svc.store.people import ProfileStore, ToldListStore
from user_svc.settings import UserSettings

_EVENTS = {
    kind.DESCRIPTOR.full_name: kind for kind in (events_pb2.UserChanged, events_pb2.UserDeleted)
}


Serve = Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]
PEER_SCOPES = ("interactions.read", "notifications.read", "subjects.any")


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
def token_file(issuer: Issuer, tmp_path: Path) -> Path:
    """The token that the user service shows its peers."""
    path = tmp_path / "user.jwt"
    path.write_text(issuer.mint("service:user", PEER_SCOPES))
    return path


@pytest.fixture
async def world(
    mongodb_uri: str,
    mongo_database: AsyncDatabase[Document],
    serve_application: Serve,
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[UserWorld]:
    monkeypatch.setattr(user_svc.bootstrap, "DATABASE", mongo_database.name)
    settings: Any = UserSettings(
        listen="127.0.0.1:0",
        mongodb_uri=mongodb_uri,
        kafka_bootstrap="127.0.0.1:1",  # nobody is there, and nobody is asked
        reco_target="127.0.0.1:1",
        notify_target="127.0.0.1:1",
        peer_token_file=token_file,
        drain_seconds=0,
        grace_seconds=1,
    )
    application = await user_svc.bootstrap.bootstrap(settings)
    without_kafka = application.components[:2]
    async with serve_application(settings, application, components=without_kafka) as channel:
        stub = user_service_pb2_grpc.UserServiceStub(channel)
        yield UserWorld(stub, channel, mongo_database)


@dataclass
class Mesh:
    """The three services, each on a database of its own."""

    stub: Any
    reco: grpc.aio.Channel
    notify: grpc.aio.Channel
    client: Client
    names: dict[str, str]
    token_file: Path

    def database(self, name: str) -> AsyncDatabase[Document]:
        return self.client[self.names[name]]

    async def tell(self, *events: Event) -> None:
        """Hands events of the user service to the others, as their consumers would."""
        database = self.database("reco")
        people = PeopleConsumer(
            PeopleService(
                Outbox(self.client, database),
                ProfileStore(database),
                InteractionStore(database),
                ToldListStore(database),
            )
        )
        for event in events:
            await people.handle(event)
            await EventRouter(self._notifications()).handle(event)

    async def plan(self, change: ListChange) -> None:
        await self._notifications().plan(change)

    def _notifications(self) -> NotificationService:
        store = MongoNotifications(self.client, self.database("notify"))
        draining: Any = None  # nobody listens
        return NotificationService(store, LiveHub(store.last_sequences, draining=draining))

    async def export(self, user_id: str, **options: Any) -> list[pb.ExportUserDataResponse]:
        call = self.stub.ExportUserData(pb.ExportUserDataRequest(user_id=user_id), **options)
        return [message async for message in call]


@pytest.fixture
async def mesh(
    mongodb_uri: str,
    mongo_client: Client,
    mongo_database: AsyncDatabase[Document],
    serve_application: Serve,
    free_port: Callable[[], int],
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Mesh]:
    names = {name: f"{mongo_database.name}_{name}" for name in ("user", "reco", "notify")}
    monkeypatch.setattr(user_svc.bootstrap, "DATABASE", names["user"])
    monkeypatch.setattr(schema, "DATABASE", names["reco"])
    monkeypatch.setattr(notify_svc.bootstrap, "DATABASE", names["notify"])
    targets = {name: f"127.0.0.1:{free_port()}" for name in ("reco", "notify")}
    common: dict[str, Any] = {
        "mongodb_uri": mongodb_uri,
        "kafka_bootstrap": "127.0.0.1:1",  # nobody is there, and nobody is asked
        "drain_seconds": 0,
        "grace_seconds": 5,
    }
    async with AsyncExitStack() as stack:
        channels = {}
        for name, settings, bootstrap, count in (
            ("reco", RecoSettings(listen=targets["reco"], **common), reco_svc.bootstrap, 5),
            ("notify", NotifySettings(listen=targets["notify"], **common), notify_svc.bootstrap, 2),
            (
                "user",
                UserSettings(
                    listen="127.0.0.1:0",
                    reco_target=targets["reco"],
                    notify_target=targets["notify"],
                    peer_token_file=token_file,
                    **common,
                ),
                user_svc.bootstrap,
                2,
            ),
        ):
            application = await bootstrap.bootstrap(settings)
            without_kafka = application.components[:count]
            served = serve_application(settings, application, components=without_kafka)
            channels[name] = await stack.enter_async_context(served)
        stub = user_service_pb2_grpc.UserServiceStub(channels["user"])
        yield Mesh(stub, channels["reco"], channels["notify"], mongo_client, names, token_file)
    for name in names.values():
        await mongo_client.drop_database(name)
