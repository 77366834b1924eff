"""A real Envoy in front of real gRPC servers that remember what reached them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.reco.v1 import interaction_service_pb2_grpc as interaction_grpc
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1 import user_service_pb2_grpc as user_grpc
from marquee_envoy.config import EdgeConfig, Endpoint, Upstream, Watch
from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.render import write_edge
from marquee_envoy.rules import RouteRule, rules_of_the_contracts
from support.edge_forms import FORMS, Answer
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


@dataclass
class Call:
    method: str
    request: Message
    metadata: dict[str, str]
    time_remaining: float | None


@dataclass(repr=False)
class Calls:
    """What reached the services, newest last; short in reports of failed tests."""

    seen: list[Call] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<{len(self.seen)} calls>"

    def note(self, method: str, request: Message, context: grpc.ServicerContext) -> None:
        metadata = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
        self.seen.append(Call(method, request, metadata, context.time_remaining()))

    @property
    def last(self) -> Call:
        return self.seen[-1]

    def count(self, method: str) -> int:
        return sum(call.method == method for call in self.seen)


class Users(user_grpc.UserServiceServicer):
    """Behaves as the id in the request asks."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def GetUser(
        self, request: user_pb.GetUserRequest, context: grpc.ServicerContext
    ) -> user_pb.GetUserResponse:
        self.calls.note("GetUser", request, context)
        self._behave(request.user_id, context)
        response = user_pb.GetUserResponse()
        response.user.id = request.user_id
        return response

    def DeleteUser(
        self, request: user_pb.DeleteUserRequest, context: grpc.ServicerContext
    ) -> user_pb.DeleteUserResponse:
        self.calls.note("DeleteUser", request, context)
        self._behave(request.user_id, context)
        return user_pb.DeleteUserResponse()

    def UpdateUser(
        self, request: user_pb.UpdateUserRequest, context: grpc.ServicerContext
    ) -> user_pb.UpdateUserResponse:
        self.calls.note("UpdateUser", request, context)
        return user_pb.UpdateUserResponse(user=request.user)

    def _behave(self, user_id: str, context: grpc.ServicerContext) -> None:
        if user_id == "slow":
            time.sleep(2.5)
        if user_id == "unavailable":
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if user_id == "":
            status = status_pb2.Status(code=3, message="user_id: must not be empty")
            status.details.add().Pack(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field="user_id", description="must not be empty"
                        )
                    ]
                )
            )
            context.abort_with_status(rpc_status.to_status(status))


class Interactions(interaction_grpc.InteractionServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def RecordInteractions(
        self, request: interaction_pb.RecordInteractionsRequest, context: grpc.ServicerContext
    ) -> interaction_pb.RecordInteractionsResponse:
        self.calls.note("RecordInteractions", request, context)
        return interaction_pb.RecordInteractionsResponse()


class Notifications(notify_grpc.NotificationServiceServicer):
    """A stream of three messages with silences between them."""

    silence_s = 0.9

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def Subscribe(
        self, request: notify_pb.SubscribeRequest, context: grpc.ServicerContext
    ) -> Iterator[notify_pb.SubscribeResponse]:
        self.calls.note("Subscribe", request, context)
        for number in range(3):
            time.sleep(self.silence_s)
            yield notify_pb.SubscribeResponse(cursor=str(number))


class HeaderNotes(grpc.ServerInterceptor):
    """Remembers the headers of the latest call of each method, also of health checks."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def intercept_service(self, continuation, handler_call_details):
        metadata = dict(handler_call_details.invocation_metadata)
        if "x-forwarded-proto" in metadata:  # from a caller, not one of Envoy's own checks
            self.calls.headers[handler_call_details.method] = metadata
        return continuation(handler_call_details)


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
def serving(calls: Calls) -> Iterator[Endpoint]:
    server = grpc.server(
        ThreadPoolExecutor(16),
        interceptors=[HeaderNotes(calls)],
        options=[("grpc.so_reuseport", 0)],
    )
    user_grpc.add_UserServiceServicer_to_server(Users(calls), server)
    interaction_grpc.add_InteractionServiceServicer_to_server(Interactions(calls), server)
    notify_grpc.add_NotificationServiceServicer_to_server(Notifications(calls), server)
    healthy = health.HealthServicer()
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    try:
        yield Endpoint(HOST, port)
    finally:
        server.stop(grace=0).wait()


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
