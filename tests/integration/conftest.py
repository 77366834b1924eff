"""Real servers for the integration tests: MongoDB's protocol by SecantusDB, Kafka's by Tansu."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from support.tokens import Issuer

from devstack.broker import tansu_command
from mesh.app import Application, Component
from mesh.ids import new_id
from mesh.mongo.client import Document, connect
from mesh.peers import open_channel
from mesh.server import MeshServer
from mesh.settings import MeshSettings


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process that can be killed and started again on its port."""

    def __init__(
        self, command: list[str], port: int, log: Path, is_ready: Callable[[int], bool]
    ) -> None:
        self.command = command
        self.port = port
        self.log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd=self.log.parent
            )
        deadline = time.monotonic() + 30
        while not self._is_ready(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.command[0]} does not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def _answers_hello(port: int) -> bool:
    if not _accepts(port):
        return False
    with (
        MongoClient[Document](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1000
        ) as client,
        contextlib.suppress(PyMongoError),
    ):
        client.admin.command("hello")
        return True
    return False


@contextlib.asynccontextmanager
async def serving(
    settings: MeshSettings,
    application: Application,
    *,
    issuer: Issuer,
    components: Sequence[Component] | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """Runs an application in this process on a port of its own, as `mesh.app.serve` would.

    Calls on the channel carry the token of a service that may do everything, unless they bring an
    `authorization` of their own.

    Args:
        issuer: Whose tokens the settings trust.
        settings: Address, limits and patience.
        application: What to run.
        components: Which of its components to start; None: all of them.
    """
    components = application.components if components is None else components
    server = MeshServer(settings, application.registrations, draining=application.draining)
    async with contextlib.AsyncExitStack() as stack:
        for component in components:
            await component.start()
            stack.push_async_callback(component.stop)
        channel = open_channel(f"127.0.0.1:{await server.start()}", token_source=issuer.source())
        # Calls that the server has ended may still have their status to read.
        stack.push_async_callback(channel.close, 5.0)
        stack.push_async_callback(server.drain)
        await server.set_serving(True)
        yield channel


_SERVICES = frozenset({"mesh", "user_svc", "reco_svc", "notify_svc"})


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """The issuer whom the services of a run trust."""
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def trusted_issuer(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    """Lets settings that are made during the test, in any process, trust the issuer."""
    for name, value in issuer.environment().items():
        monkeypatch.setenv(name, value)
    return issuer


@pytest.fixture(autouse=True)
def _services_trust_the_issuer(request: pytest.FixtureRequest) -> None:
    # Not where a whole stack is run: it has an issuer of its own.
    if request.path.relative_to(Path(__file__).parent).parts[0] in _SERVICES:
        request.getfixturevalue("trusted_issuer")


@pytest.fixture(scope="session")
def serve_application(
    issuer: Issuer,
) -> Callable[..., contextlib.AbstractAsyncContextManager[grpc.aio.Channel]]:
    """Returns `serving`: runs an application in this process and gives a channel to it."""
    return functools.partial(serving, issuer=issuer)


def secantus_server(home: Path, *options: str) -> Server:
    """A SecantusDB that keeps its data below `home`; not started."""
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "secantusd.toml"  # or it would adopt one that it finds on the machine
    settings.touch()
    port = _free_port()
    command = [sys.executable, "-m", "secantus", "--config", str(settings)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "WARNING"]
    command += ["--storage-path", str(home / "data"), *options]
    return Server(command, port, home / "server.log", _answers_hello)


async def _eventually(condition: Callable[[], Awaitable[bool]], *, within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while not await condition():  # any condition, not only an event
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Awaitable[None]]:
    """Returns a function that waits until a condition, asked for again and again, holds."""
    return _eventually


@pytest.fixture
def ended_spans() -> Iterator[Callable[[], Sequence[ReadableSpan]]]:
    """Returns a function that gives the spans of this process that ended during the test."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    yield exporter.get_finished_spans
    processor.shutdown()  # the provider keeps it, and it keeps nothing any more


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Returns a function that finds a port nobody listens on."""
    return _free_port


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The MongoDB that the tests of a run share, each in a database of its own."""
    server = secantus_server(tmp_path_factory.mktemp("mongodb"))
    server.start()
    yield f"mongodb://{server.address}/?directConnection=true"
    server.kill()


@pytest.fixture
async def mongo_client(mongodb_uri: str) -> AsyncIterator[AsyncMongoClient[Document]]:
    """A client of the shared MongoDB."""
    client = connect(mongodb_uri, "tests")
    yield client
    await client.close()


@pytest.fixture
async def mongo_database(
    mongo_client: AsyncMongoClient[Document],
) -> AsyncIterator[AsyncDatabase[Document]]:
    """An empty database of this test's own."""
    name = f"test_{new_id().lower()}"
    yield mongo_client[name]
    await mongo_client.drop_database(name)


@pytest.fixture
def private_mongodb(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes MongoDB servers of this test's own, to be started with options and to be killed."""
    servers: list[Server] = []

    def make(*options: str) -> Server:
        # These are killed; like a majority, they must not forget what they acknowledged.
        home = tmp_path / f"mongodb{len(servers)}"
        servers.append(secantus_server(home, "--sync-on-commit", *options))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Kafka broker that the tests of a run share, each with keys and groups of its own."""
    port = _free_port()
    log = tmp_path_factory.mktemp("kafka") / "server.log"
    broker = Server(tansu_command("127.0.0.1", port), port, log, _accepts)
    broker.start()
    yield broker.address
    broker.kill()


@pytest.fixture
def private_kafka(tmp_path: Path) -> Iterator[Server]:
    """A Kafka broker of this test's own; it forgets everything when it is killed. Not started."""
    port = _free_port()
    broker = Server(tansu_command("127.0.0.1", port), port, tmp_path / "kafka.log", _accepts)
    yield broker
    broker.kill()
