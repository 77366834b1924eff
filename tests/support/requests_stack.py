"""A mesh for the security checks: everything embedded, little data, no MovieLens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1.notification_service_pb2_grpc import NotificationServiceStub
from marquee.reco.v1 import catalog_service_pb2 as catalog_pb
from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.reco.v1 import model_service_pb2 as model_pb
from marquee.reco.v1 import movie_pb2
from marquee.reco.v1.catalog_service_pb2_grpc import CatalogServiceStub
from marquee.reco.v1.interaction_service_pb2_grpc import InteractionServiceStub
from marquee.reco.v1.model_service_pb2_grpc import ModelServiceStub
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1.user_service_pb2_grpc import UserServiceStub
from support.requests import MOVIES, USERS
from support.requests_tokens import StackIssuer

from devstack.components import ALL, OTLP, SERVICES, StackConfig
from devstack.ports import Ports
from devstack.stack import Stack
from mesh.peers import open_channel

_TRAINING_S = 60.0


@dataclass(frozen=True, slots=True)
class SecurityMesh:
    """A running mesh with three people, a dozen movies and a model.

    Attributes:
        stack: The stack.
        issuer: Signs as the stack's issuer does.
        page_tokens: Page tokens and cursors that it gave.
        texts: What is there under names of fields: the version of a model.
    """

    stack: Stack
    issuer: StackIssuer
    page_tokens: tuple[str, ...]
    texts: Mapping[str, str]

    @property
    def edge(self) -> str:
        """The address of Envoy."""
        return self.stack.endpoints.edge

    @property
    def services(self) -> dict[str, str]:
        """The address of each service by its component's name."""
        return {name: getattr(self.stack.endpoints, name) for name in SERVICES}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def security_mesh(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[SecurityMesh]:
    """The mesh that all security checks of a run share."""
    directory = tmp_path_factory.mktemp("security") / "data"
    components = frozenset(ALL) - {OTLP}
    stack = Stack(StackConfig(data_dir=directory, ports=Ports.free(), components=components))
    await stack.start()
    try:
        issuer = StackIssuer(stack.directory.auth, tmp_path_factory.mktemp("issuer"))
        async with open_channel(stack.endpoints.edge, token_source=issuer.source()) as channel:
            version = await _fill(channel)
            page_tokens = await _page_tokens(channel)
        yield SecurityMesh(stack, issuer, page_tokens, {"version": version})
    finally:
        await stack.stop()


async def _fill(channel: grpc.aio.Channel) -> str:
    """Fills the mesh; returns the version of its model."""
    users, movies = UserServiceStub(channel), CatalogServiceStub(channel)
    interactions = InteractionServiceStub(channel)
    for user_id in USERS:
        user = user_pb2.User(id=user_id, display_name=user_id)
        await users.CreateUser(user_pb.CreateUserRequest(user=user))
    catalogue = [movie_pb2.Movie(id=name, title=name, genres=["Drama"]) for name in MOVIES]
    await movies.UpsertMovies(catalog_pb.UpsertMoviesRequest(movies=catalogue))
    watched = [
        interaction_pb.Interaction(
            event_id=f"seed.{user_id}.{movie_id}",
            user_id=user_id,
            movie_id=movie_id,
            type=interaction_pb.INTERACTION_TYPE_LIKE,
        )
        for place, user_id in enumerate(USERS)
        for movie_id in MOVIES[place : place + 6]
    ]
    for row in watched:
        await interactions.RecordInteractions(
            interaction_pb.RecordInteractionsRequest(interactions=[row])
        )
    return await _train(ModelServiceStub(channel))


async def _train(models: ModelServiceStub) -> str:
    version = (await models.TrainModel(model_pb.TrainModelRequest())).model.version
    async with asyncio.timeout(_TRAINING_S):
        while True:
            model = (await models.GetModel(model_pb.GetModelRequest(version=version))).model
            if model.status == model_pb.MODEL_STATUS_READY:
                break
            assert model.status == model_pb.MODEL_STATUS_TRAINING, model.failure
            await asyncio.sleep(0.2)
    await models.PromoteModel(model_pb.PromoteModelRequest(version=version))
    return version


async def _page_tokens(channel: grpc.aio.Channel) -> tuple[str, ...]:
    """A token of each listing that has a second page."""
    users = await UserServiceStub(channel).ListUsers(user_pb.ListUsersRequest(page_size=1))
    movies = await CatalogServiceStub(channel).ListMovies(catalog_pb.ListMoviesRequest(page_size=1))
    interactions = await InteractionServiceStub(channel).ListInteractions(
        interaction_pb.ListInteractionsRequest(user_id=USERS[0], page_size=1)
    )
    stream = NotificationServiceStub(channel).Subscribe(
        notify_pb.SubscribeRequest(user_id=USERS[0]), timeout=10
    )
    cursor = (await stream.read()).cursor
    stream.cancel()
    found = [reply.next_page_token for reply in (users, movies, interactions)]
    assert all((*found, cursor)), "a listing of the seed has one page only"
    return (*found, cursor)
