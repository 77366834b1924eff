"""The recommendation service over real sockets, on a database of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from marquee.events.v1 import events_pb2
from marquee.reco.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    interaction_service_pb2,
    interaction_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    movie_pb2,
    recommendation_service_pb2_grpc,
)
from pymongo.asynchronous.database import AsyncDatabase

from mesh.app import Application
from mesh.ids import new_id
from mesh.mongo.client import Client, Document
from mesh.times import now
from reco_svc import bootstrap
from reco_svc.settings import RecoSettings
from reco_svc.store import schema
from reco_svc.store.models import Embedding, EmbeddingStore

Serve = Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]
_EVENTS = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        events_pb2.InteractionRecorded,
        events_pb2.MovieChanged,
        events_pb2.ModelPromoted,
        events_pb2.RecommendationListChanged,
    )
}


class Reco:
    """A running replica of the service, and the way to call it."""

    def __init__(self, application: Application, channel: grpc.aio.Channel) -> None:
        self.application = application
        self.channel = channel
        self.catalog: Any = catalog_service_pb2_grpc.CatalogServiceStub(channel)
        self.interactions: Any = interaction_service_pb2_grpc.InteractionServiceStub(channel)
        self.recommendations: Any = recommendation_service_pb2_grpc.RecommendationServiceStub(
            channel
        )
        self.models: Any = model_service_pb2_grpc.ModelServiceStub(channel)

    async def add_movies(self, *ids: str, genres: Sequence[str] = ()) -> None:
        """Stores movies whose title is their id."""
        await self.catalog.UpsertMovies(
            catalog_service_pb2.UpsertMoviesRequest(
                movies=[movie_pb2.Movie(id=i, title=f"Title of {i}", genres=genres) for i in ids]
            )
        )

    async def record(self, *rows: interaction_service_pb2.Interaction) -> Any:
        return await self.interactions.RecordInteractions(
            interaction_service_pb2.RecordInteractionsRequest(interactions=rows)
        )

    async def like(self, user_id: str, *movie_ids: str) -> Any:
        """Records in one batch that somebody likes movies."""
        return await self.record(*(row(user_id, movie_id) for movie_id in movie_ids))

    async def index(self) -> model_service_pb2.GetIndexStatusResponse:
        status: model_service_pb2.GetIndexStatusResponse = await self.models.GetIndexStatus(
            model_service_pb2.GetIndexStatusRequest()
        )
        return status


class World:
    """The database, and a way to run replicas of the service on it."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        uri: str,
        serve: Serve,
        kafka_bootstrap: Callable[[], str],
    ) -> None:
        self.database = database
        self._uri = uri
        self._serve = serve
        self._kafka_bootstrap = kafka_bootstrap

    def settings(self, **changes: Any) -> RecoSettings:
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "mongodb_uri": self._uri,
            "kafka_bootstrap": "127.0.0.1:1",  # nobody is there, and nobody is asked
            "drain_seconds": 0,
            "grace_seconds": 5,
            "refresh_debounce_seconds": 0.05,
        }
        return RecoSettings(**{**values, **changes})

    @asynccontextmanager
    async def running(self, *, with_kafka: bool = False, **changes: Any) -> AsyncIterator[Reco]:
        """Runs a replica.

        Args:
            with_kafka: Whether its events leave, and others' are handled.
            **changes: Settings.
        """
        if with_kafka:
            changes = {
                "kafka_bootstrap": self._kafka_bootstrap(),
                "kafka_session_timeout_ms": 6000,  # Tansu holds a joining group for half of it
                **changes,
            }
        settings = self.settings(**changes)
        application = await bootstrap.bootstrap(settings)
        components = None if with_kafka else application.components[:5]
        async with self._serve(settings, application, components=components) as channel:
            yield Reco(application, channel)

    async def announced(self, topic: str) -> list[Any]:
        """The events of a topic that wait in the outbox, in the order they would leave."""
        rows = await self.database["outbox"].find().sort("_id", 1).to_list()
        return [
            _EVENTS[row["headers"]["ce_type"].decode()].FromString(row["value"])
            for row in rows
            if row["topic"] == topic
        ]

    async def store_model(self, vectors: dict[str, Sequence[float]]) -> str:
        """Stores a model that is ready, with these vectors as in- and out-vectors."""
        version = new_id()
        await self.database[schema.MODELS].insert_one(
            {"_id": version, "status": 2, "create_time": now(), "progress": 1.0}
        )
        await self.add_embeddings(version, vectors)
        return version

    async def add_embeddings(self, version: str, vectors: dict[str, Sequence[float]]) -> None:
        await EmbeddingStore(self.database).put(
            version,
            [
                Embedding(movie_id, np.array(v, np.float32), np.array(v, np.float32))
                for movie_id, v in vectors.items()
            ],
        )

    async def promote(self, reco: Reco, version: str, eventually: Callable[..., Any]) -> None:
        """Promotes a model and waits until the replica serves it."""
        await reco.models.PromoteModel(model_service_pb2.PromoteModelRequest(version=version))

        async def serves() -> bool:
            return (await reco.index()).model_version == version

        await eventually(serves)


def row(
    user_id: str, movie_id: str, event_id: str = "", *, kind: str = "LIKE", value: float = 0.0
) -> interaction_service_pb2.Interaction:
    """An interaction; a new event id if none is given."""
    return interaction_service_pb2.Interaction(
        event_id=event_id or new_id(),
        user_id=user_id,
        movie_id=movie_id,
        type=interaction_service_pb2.InteractionType.Value(f"INTERACTION_TYPE_{kind}"),
        value=value,
    )


@pytest.fixture(scope="session")
def interaction() -> Callable[..., interaction_service_pb2.Interaction]:
    """Makes an interaction."""
    return row


@pytest.fixture
def make_world(
    mongodb_uri: str,
    mongo_client: Client,
    serve_application: Serve,
    request: pytest.FixtureRequest,
) -> Callable[[str], World]:
    """Makes a world on a database of a name."""

    def kafka_bootstrap() -> str:
        return str(request.getfixturevalue("kafka_bootstrap"))

    def make(name: str) -> World:
        return World(mongo_client[name], mongodb_uri, serve_application, kafka_bootstrap)

    return make


@pytest.fixture
def world(
    mongo_database: AsyncDatabase[Document],
    make_world: Callable[[str], World],
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setattr(schema, "DATABASE", mongo_database.name)
    return make_world(mongo_database.name)


@pytest.fixture
async def named_world(
    mongo_client: Client,
    mongodb_uri: str,
    make_world: Callable[[str], World],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    """On the database of the service's own name, which is what processes of their own use."""
    monkeypatch.setenv("MARQUEE_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("MARQUEE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("MARQUEE_LISTEN", "127.0.0.1:0")
    await mongo_client.drop_database(schema.DATABASE)
    yield make_world(schema.DATABASE)
    await mongo_client.drop_database(schema.DATABASE)


@pytest.fixture
async def reco(world: World) -> AsyncIterator[Reco]:
    """A replica without Kafka."""
    async with world.running() as replica:
        yield replica


class Refusal:
    """What a call was refused with."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.message = error.details() or ""
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.fields: list[str] = []
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                self.reason, self.metadata = info.reason, dict(info.metadata)
            if detail.Unpack(bad):
                self.fields += [violation.field for violation in bad.field_violations]


@pytest.fixture(scope="session")
def refusal_of() -> Callable[[Awaitable[Message]], Awaitable[Refusal]]:
    """Makes a call that must fail, and returns how it did."""

    async def call(pending: Awaitable[Message]) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await pending
        return Refusal(refused.value)

    return call
