"""The importer, the training and the live stream against servers of the same contracts."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from marquee.notify.v1 import notification_service_pb2 as notify
from marquee.notify.v1 import notification_service_pb2_grpc
from marquee.reco.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    interaction_service_pb2,
    interaction_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)

from cli.address import Edge, Entry, find_edge
from cli.datasets.records import Dataset, Movie, RatingsBuilder
from cli.demo.live_stream import subscribe
from cli.errors import CliError
from cli.importing.importer import import_interactions, import_movies
from cli.mesh_client import Mesh, connect
from cli.modelling import TrainingFailed, promote_model, train_model
from cli.rpc_errors import RpcFailed
from cli.tracing import traced, untraced
from mesh.telemetry.context import TRACEPARENT

Status = interaction_service_pb2.InteractionStatus
TOKEN = "opaque"


class Catalog(catalog_service_pb2_grpc.CatalogServiceServicer):
    def __init__(self) -> None:
        self.movies: dict[str, Any] = {}

    async def UpsertMovies(self, request: Any, context: Any) -> Any:
        new = [movie for movie in request.movies if movie.id not in self.movies]
        self.movies.update({movie.id: movie for movie in request.movies})
        return catalog_service_pb2.UpsertMoviesResponse(
            created_count=len(new), unchanged_count=len(request.movies) - len(new)
        )


class Interactions(interaction_service_pb2_grpc.InteractionServiceServicer):
    """Knows the movies m0 to m9; fails the first calls of each person if told so."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.by_user: defaultdict[str, list[int]] = defaultdict(list)
        self.busy: Counter[str] = Counter()
        self.failures: list[grpc.StatusCode] = []
        self.traceparents: list[str] = []
        self.authorizations: list[str] = []

    async def RecordInteractions(self, request: Any, context: Any) -> Any:
        metadata = dict(context.invocation_metadata())
        self.traceparents.append(str(metadata.get(TRACEPARENT, "")))
        self.authorizations.append(str(metadata.get("authorization", "")))
        if self.failures:
            await context.abort(self.failures.pop(), "not now")
        users = {row.user_id for row in request.interactions}
        for user in users:
            assert not self.busy[user], "two calls with one person at once"
            self.busy[user] += 1
        await asyncio.sleep(0.01)
        for user in users:
            self.busy[user] -= 1
        return interaction_service_pb2.RecordInteractionsResponse(
            results=[self._record(row) for row in request.interactions]
        )

    def _record(self, row: Any) -> Any:
        status, message = Status.INTERACTION_STATUS_ACCEPTED, ""
        if row.movie_id not in {f"m{n}" for n in range(10)}:
            status, message = Status.INTERACTION_STATUS_UNKNOWN_MOVIE, "movie_id: unknown"
        elif row.event_id in self.rows:
            status = Status.INTERACTION_STATUS_DUPLICATE
        else:
            self.rows[row.event_id] = row
            self.by_user[row.user_id].append(row.occur_time.seconds)
        return interaction_service_pb2.InteractionResult(
            event_id=row.event_id, status=status, message=message
        )


class Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self) -> None:
        self.asked = 0
        self.failure = ""
        self.index_polls = 0

    def _model(self, **more: Any) -> Any:
        return model_service_pb2.Model(version="v1", **more)

    async def TrainModel(self, request: Any, context: Any) -> Any:
        training = self._model(status=model_service_pb2.MODEL_STATUS_TRAINING)
        return model_service_pb2.TrainModelResponse(model=training)

    async def GetModel(self, request: Any, context: Any) -> Any:
        self.asked += 1
        if self.asked < 3:
            model = self._model(
                status=model_service_pb2.MODEL_STATUS_TRAINING, progress=self.asked / 4
            )
        elif self.failure:
            model = self._model(status=model_service_pb2.MODEL_STATUS_FAILED, failure=self.failure)
        else:
            model = self._model(status=model_service_pb2.MODEL_STATUS_READY, progress=1)
        return model_service_pb2.GetModelResponse(model=model)

    async def PromoteModel(self, request: Any, context: Any) -> Any:
        assert request.version == "v1"
        return model_service_pb2.PromoteModelResponse(model=self._model())

    async def GetIndexStatus(self, request: Any, context: Any) -> Any:
        self.index_polls += 1
        version = "v1" if self.index_polls > 2 else "v0"
        return model_service_pb2.GetIndexStatusResponse(model_version=version, movie_count=7)


class Notifications(notification_service_pb2_grpc.NotificationServiceServicer):
    """Tells of one notification per stream and then lets the stream end."""

    def __init__(self) -> None:
        self.cursors: list[str] = []
        self.authorizations: list[str] = []
        self.refuses = False

    async def Subscribe(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if self.refuses:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such person")
        self.cursors.append(request.cursor)
        metadata = dict(context.invocation_metadata())
        self.authorizations.append(str(metadata.get("authorization", "")))
        number = len(self.cursors)
        yield notify.SubscribeResponse(heartbeat=notify.Heartbeat(), cursor=f"{number}a")
        yield notify.SubscribeResponse(
            notification=notify.Notification(id=str(number)), cursor=f"{number}b"
        )
        if number % 2:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")


class Servers:
    def __init__(self) -> None:
        self.catalog = Catalog()
        self.interactions = Interactions()
        self.models = Models()
        self.notifications = Notifications()
        self.address = ""


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    all_of_them = Servers()
    server = grpc.aio.server()
    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(all_of_them.catalog, server)
    interaction_service_pb2_grpc.add_InteractionServiceServicer_to_server(
        all_of_them.interactions, server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(all_of_them.models, server)
    notification_service_pb2_grpc.add_NotificationServiceServicer_to_server(
        all_of_them.notifications, server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    all_of_them.address = f"127.0.0.1:{port}"
    await server.start()
    yield all_of_them
    await server.stop(grace=0)


@asynccontextmanager
async def mesh_of(servers: Servers) -> AsyncIterator[Mesh]:
    async with connect(Edge(servers.address, lambda: TOKEN)) as mesh:
        yield mesh


def dataset(users: int, rows: int, movies: int = 10) -> Dataset:
    builder = RatingsBuilder()
    for row in reversed(range(rows)):
        for user in range(users):
            builder.add(f"u{user}", f"m{row % movies}", 4.0, row)
    everything = tuple(Movie(f"m{n}", f"Movie {n}", ("Drama",), 1999) for n in range(movies))
    return Dataset("small", everything, builder.build())


async def test_movies_are_stored_once(servers: Servers) -> None:
    shown: list[float] = []
    async with mesh_of(servers) as mesh:
        first = await import_movies(mesh, dataset(1, 1).movies, shown.append)
        again = await import_movies(mesh, dataset(1, 1).movies, shown.append)
    assert (first.created, first.unchanged) == (10, 0)
    assert (again.created, again.unchanged) == (0, 10)
    assert sum(shown) == 20
    assert servers.catalog.movies["m3"].title == "Movie 3"


async def test_every_row_arrives_and_each_persons_in_order(servers: Servers) -> None:
    shown: list[float] = []
    async with mesh_of(servers) as mesh:
        # u0 to u2 have more rows than fit into one call.
        report = await import_interactions(mesh, dataset(3, 2_500), shown.append)
    assert report.counts == {"ACCEPTED": 7_500}
    assert report.refused == 0
    assert sum(shown) == 7_500
    for times in servers.interactions.by_user.values():
        assert times == list(range(2_500))


async def test_a_repeated_import_records_nothing_twice(servers: Servers) -> None:
    async with mesh_of(servers) as mesh:
        await import_interactions(mesh, dataset(4, 10), lambda _: None)
        report = await import_interactions(mesh, dataset(4, 15), lambda _: None)
    assert report.counts == {"DUPLICATE": 40, "ACCEPTED": 20}
    assert report.refused == 0


async def test_trouble_that_passes_is_waited_for(servers: Servers) -> None:
    servers.interactions.failures = [
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    ]
    async with mesh_of(servers) as mesh:
        report = await import_interactions(mesh, dataset(2, 5), lambda _: None)
    assert report.counts == {"ACCEPTED": 10}


async def test_trouble_that_stays_ends_the_import(servers: Servers) -> None:
    servers.interactions.failures = [grpc.StatusCode.INVALID_ARGUMENT]
    with pytest.raises(RpcFailed, match="INVALID_ARGUMENT: not now"):
        async with mesh_of(servers) as mesh:
            await import_interactions(mesh, dataset(2, 5), lambda _: None)


async def test_refused_rows_are_counted_and_the_first_kept(servers: Servers) -> None:
    async with mesh_of(servers) as mesh:
        report = await import_interactions(mesh, dataset(4, 12, movies=12), lambda _: None)
    assert report.counts == {"ACCEPTED": 40, "UNKNOWN_MOVIE": 8}
    assert report.refused == 8
    assert len(report.refusals) == 5
    assert {refusal.movie_id for refusal in report.refusals} <= {"m10", "m11"}
    assert report.refusals[0].message == "movie_id: unknown"


def is_sampled(traceparent: str) -> bool:
    flags = traceparent.rpartition("-")[2]
    assert flags in {"00", "01", "02", "03"}  # the second bit tells that the trace id is random
    return flags in {"01", "03"}


async def test_imports_are_not_sampled_but_traces_of_our_own_are(servers: Servers) -> None:
    async with mesh_of(servers) as mesh:
        await import_interactions(mesh, dataset(1, 1), lambda _: None)
        request = interaction_service_pb2.RecordInteractionsRequest()
        with traced("rate movies") as trace_id:
            await mesh.interactions.RecordInteractions(request)
        with untraced():
            await mesh.interactions.RecordInteractions(request)
    imported, ours, quiet = servers.interactions.traceparents
    assert not is_sampled(imported)
    assert ours.split("-")[1] == trace_id
    assert is_sampled(ours)
    assert not is_sampled(quiet)


async def test_training_is_followed_to_its_end(servers: Servers) -> None:
    shown: list[float] = []
    async with mesh_of(servers) as mesh:
        model = await train_model(mesh, seed=1, holdout=0.25, advance=shown.append)
        status = await promote_model(mesh, model.version)
    assert model.status == model_service_pb2.MODEL_STATUS_READY
    assert sum(shown) == pytest.approx(1)
    assert (status.model_version, status.movie_count) == ("v1", 7)


async def test_a_failed_training_says_why(servers: Servers) -> None:
    servers.models.failure = "no memory"
    with pytest.raises(TrainingFailed, match="no memory"):
        async with mesh_of(servers) as mesh:
            await train_model(mesh, seed=1, holdout=0.25, advance=lambda _: None)


async def test_the_live_stream_goes_on_where_it_ended(servers: Servers) -> None:
    async with mesh_of(servers) as mesh, subscribe(mesh, "ann") as stream:
        arrived = [(await stream.next(10)).id for _ in range(3)]
    assert arrived == ["1", "2", "3"]
    assert servers.notifications.cursors[:3] == ["", "1b", "2b"]


async def test_a_refused_subscription_is_an_error(servers: Servers) -> None:
    servers.notifications.refuses = True
    with pytest.raises(RpcFailed, match="no such person"):
        async with mesh_of(servers) as mesh, subscribe(mesh, "ann"):
            pytest.fail("the subscription was refused")


async def test_a_stream_without_news_times_out(servers: Servers) -> None:
    async with mesh_of(servers) as mesh, subscribe(mesh, "ann") as stream:
        await stream.next(10)
        servers.notifications.cursors.clear()
        with pytest.raises(CliError, match="no notification reached ann"):
            await stream.next(0.0)


async def test_every_call_shows_the_token_of_the_moment(servers: Servers) -> None:
    numbers = iter(range(100))
    request = interaction_service_pb2.RecordInteractionsRequest()
    edge = Edge(servers.address, lambda: f"{TOKEN}{next(numbers)}")
    async with connect(edge) as mesh:
        await mesh.interactions.RecordInteractions(request)
        await mesh.interactions.RecordInteractions(request)
        async with subscribe(mesh, "ann") as stream:
            await stream.next(10)
    assert servers.interactions.authorizations == [f"Bearer {TOKEN}0", f"Bearer {TOKEN}1"]
    assert servers.notifications.authorizations[0] == f"Bearer {TOKEN}2"


async def test_a_refused_token_is_told_by_its_origin(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARQUEE_TOKEN", TOKEN)
    servers.interactions.failures = [grpc.StatusCode.UNAUTHENTICATED]
    with pytest.raises(RpcFailed, match="UNAUTHENTICATED: not now; shown was the token in MARQ"):
        async with connect(find_edge(Entry(servers.address, Path("nowhere")))) as mesh:
            await mesh.interactions.RecordInteractions(
                interaction_service_pb2.RecordInteractionsRequest()
            )


async def test_without_a_token_nothing_is_sent(servers: Servers) -> None:
    def none() -> str:
        raise CliError("it expired")

    with pytest.raises(CliError, match="it expired"):
        async with connect(Edge(servers.address, none)) as mesh:
            await mesh.interactions.RecordInteractions(
                interaction_service_pb2.RecordInteractionsRequest()
            )
    with pytest.raises(CliError, match="it expired"):
        async with connect(Edge(servers.address, none)) as mesh, subscribe(mesh, "ann"):
            pytest.fail("there is no token")
    assert servers.interactions.authorizations == servers.notifications.authorizations == []


async def test_nothing_answers() -> None:
    with pytest.raises(CliError, match=r"nothing answers at 127\.0\.0\.1:1"):
        async with connect(Edge("127.0.0.1:1", lambda: TOKEN)):
            pytest.fail("there is no server")
