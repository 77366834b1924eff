"""A real Envoy in front of real gRPC servers that remember what reached them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from marquee_envoy.config import EdgeConfig, Endpoint, Upstream, Watch
from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.render import write_edge
from marquee_envoy.rules import RouteRule, rules_of_the_contracts
from support.edge_forms import FORMS, Answer
from support.edge_services import Calls, serving
from support.tokens import Issuer, bearer

from devstack import guard
from devstack.edge import envoy_binary
from devstack.ports import Ports

HOST = "127.0.0.1"
FAST = Watch(
    check_interval_s=0.2,
    recheck_interval_s=0.1,
    failures_in_a_row=3,
    failing_calls=10,
    ejection_interval_s=0.3,
    ejection_time_s=1.5,
)
"""What a test can wait for."""


@dataclass(frozen=True)
class Edge:
    address: str
    admin: str
    access_log: Path
    issuer: Issuer

    def post(self, method: str, json: str | bytes = "{}", **headers: str) -> httpx.Response:
        """Calls by JSON, with a good token unless the headers bring their own."""
        sent = {"content-type": "application/json", **dict(bearer(self.issuer.mint())), **headers}
        return httpx.post(f"http://{self.address}/{method}", content=json, headers=sent, timeout=10)

    def stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose names match."""
        reply = httpx.get(f"http://{self.admin}/stats", params={"filter": pattern}).text
        pairs = (line.rpartition(": ") for line in reply.splitlines())
        return {name: int(value) for name, _, value in pairs if value.isdecimal()}


@pytest.fixture(params=list(FORMS))
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def call(form: str) -> Callable[..., Answer]:
    """Calls a path in one of the forms, with an empty message unless told otherwise."""

    def call(edge: Edge, path: str, *, metadata: Any = None, body: bytes = b"") -> Answer:
        shown = bearer(edge.issuer.mint()) if metadata is None else metadata
        return FORMS[form](edge.address, path, body, shown)

    return call


def with_short_timeouts() -> list[RouteRule]:
    """GetUser gets timeouts that a test can wait for."""
    return [
        replace(rule, max_stream_duration="0.600s", grpc_timeout_header_max="1.200s")
        if rule.path.endswith("/GetUser")
        else rule
        for rule in rules_of_the_contracts()
    ]


@contextmanager
def running_edge(
    directory: Path, config: EdgeConfig, wait_for: set[str], issuer: Issuer
) -> Iterator[Edge]:
    settings = directory / "envoy.yaml"
    write_edge(config, settings, with_short_timeouts())
    admin = f"{config.admin.host}:{config.admin.port}"
    command = [envoy_binary(), "--config-path", str(settings), "--disable-hot-restart"]
    command += ["--concurrency", "1", "--log-level", "warning"]
    command += ["--file-flush-interval-msec", "200"]
    command += ["--drain-time-s", "2", "--drain-strategy", "immediate"]
    with (directory / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command],
            stdout=log,
            stderr=log,
        )
    try:
        _until_ready(admin, wait_for, process, directory / "envoy.log")
        edge = f"{config.listen.host}:{config.listen.port}"
        yield Edge(edge, admin, Path(config.access_log), issuer)
    finally:
        process.terminate()
        process.wait(10)


def _until_ready(
    admin: str, wait_for: set[str], process: subprocess.Popen[bytes], log: Path
) -> None:
    give_up_at = time.monotonic() + 20
    while time.monotonic() < give_up_at:
        assert process.poll() is None, log.read_text()
        try:
            clusters = httpx.get(f"http://{admin}/clusters").text
            if httpx.get(f"http://{admin}/ready").text.strip() == "LIVE" and all(
                any(
                    line.startswith(f"{name}::") and line.endswith("health_flags::healthy")
                    for line in clusters.splitlines()
                )
                for name in wait_for
            ):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the edge did not become ready: {log.read_text()}")


EdgeMaker = Callable[..., Edge]


@pytest.fixture(scope="session")
def calls() -> Calls:
    return Calls()


@pytest.fixture(scope="session")
def services(calls: Calls) -> Iterator[Endpoint]:
    with serving(calls) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def base_config(
    tmp_path_factory: pytest.TempPathFactory, services: Endpoint, issuer: Issuer
) -> EdgeConfig:
    descriptor_set = tmp_path_factory.mktemp("contracts") / "marquee.binpb"
    descriptor_set.write_bytes(mesh_descriptor_set().SerializeToString())
    return EdgeConfig(
        listen=Endpoint(HOST, 1),
        admin=Endpoint(HOST, 1),
        upstreams=tuple(
            Upstream(name=name, package=f"marquee.{name}.v1", endpoints=(services,))
            for name in ("user", "reco", "notify")
        ),
        descriptor_set=descriptor_set,
        issuer=issuer.name,
        audience=issuer.audience,
        jwks=issuer.jwks_path,
        cors_origins=("https://example.org",),
        watch=FAST,
        stream_idle_s=1.5,
        max_json_bytes=65536,
    )


@contextmanager
def making_edges(
    tmp_path_factory: pytest.TempPathFactory, base_config: EdgeConfig, issuer: Issuer
) -> Iterator[EdgeMaker]:
    with ExitStack() as started:

        def make(wait_for: set[str] | None = None, **changes: Any) -> Edge:
            directory = tmp_path_factory.mktemp("edge")
            ports = Ports.free()
            config = replace(
                base_config,
                listen=Endpoint(HOST, ports.edge),
                admin=Endpoint(HOST, ports.edge_admin),
                access_log=str(directory / "access.log"),
                secrets=directory / "secrets",
                **changes,
            )
            names = {"user", "reco", "notify"} if wait_for is None else wait_for
            return started.enter_context(running_edge(directory, config, names, issuer))

        yield make


@pytest.fixture(scope="session")
def make_lasting_edge(
    tmp_path_factory: pytest.TempPathFactory, base_config: EdgeConfig, issuer: Issuer
) -> Iterator[EdgeMaker]:
    """Starts an edge for several tests; keyword arguments change its configuration."""
    with making_edges(tmp_path_factory, base_config, issuer) as make:
        yield make


@pytest.fixture
def make_edge(
    tmp_path_factory: pytest.TempPathFactory, base_config: EdgeConfig, issuer: Issuer
) -> Iterator[EdgeMaker]:
    """Starts an edge for one test; keyword arguments change its configuration."""
    with making_edges(tmp_path_factory, base_config, issuer) as make:
        yield make


@pytest.fixture(scope="session")
def edge(make_lasting_edge: EdgeMaker) -> Edge:
    return make_lasting_edge()


class _Token(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
):
    """Shows a token on every call that shows none."""

    def __init__(self, mint: Callable[[], str]) -> None:
        self._mint = mint

    def _with_token(self, details):
        metadata = list(details.metadata or ())
        if not any(key == "authorization" for key, _ in metadata):
            metadata += bearer(self._mint())
        return details._replace(metadata=metadata)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(self._with_token(details), request)


@contextmanager
def open_channel(edge: Edge, mint: Callable[[], str] | None = None) -> Iterator[grpc.Channel]:
    """A channel whose calls show a token: of a service that may do everything by default."""
    with grpc.insecure_channel(edge.address) as opened:
        yield grpc.intercept_channel(opened, _Token(mint or edge.issuer.mint))


@pytest.fixture(scope="session")
def dial() -> Callable[..., AbstractContextManager[grpc.Channel]]:
    """Returns `open_channel`."""
    return open_channel


@pytest.fixture(scope="session")
def channel(edge: Edge) -> Iterator[grpc.Channel]:
    with open_channel(edge) as opened:
        yield opened
