"""The gRPC server of a service: health, reflection, layers, keys of tokens, limits, drain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from mesh.auth.key_sources import key_source
from mesh.auth.keys import Keys
from mesh.auth.verifier import Verifier
from mesh.interceptors.authentication import AuthenticationLayer
from mesh.interceptors.authorisation import AuthorisationLayer
from mesh.interceptors.base import Layer, LayeredInterceptor
from mesh.interceptors.calls import PersonLayer, RpcsLayer
from mesh.interceptors.deadline import DeadlineLayer
from mesh.interceptors.errors import ErrorLayer
from mesh.interceptors.streams import OpenStreamsLayer, StreamsLayer
from mesh.lasting_server import LastingServer
from mesh.reflection import MeshReflection
from mesh.settings import MeshSettings
from mesh.telemetry.rpc import ServerTelemetry
from mesh.tls.credentials import server_credentials
from mesh.tls.watch import SERVER_ROLES, CertificateWatch

_log = structlog.get_logger(__name__)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_INFRASTRUCTURE_CALLS = 1000
_OPEN_STREAMS = 200
_STREAMS_END_SECONDS = 1.0
_HANDLERS_END_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Registration:
    """A servicer and how grpc learns of it.

    Attributes:
        service_name: Full name, `marquee.user.v1.UserService`.
        servicer: The object with the handlers.
        add_to_server: The generated `add_<Service>Servicer_to_server`.
    """

    service_name: str
    servicer: Any
    add_to_server: Callable[[Any, grpc.aio.Server], None]


class MeshServer:
    """Serves gRPC on the address of the settings."""

    def __init__(
        self,
        settings: MeshSettings,
        registrations: Sequence[Registration],
        *,
        draining: asyncio.Event | None = None,
        failure: asyncio.Event | None = None,
    ) -> None:
        """Takes the address and limits, and the servicers.

        Args:
            settings: Address and limits, and whose tokens are taken.
            registrations: The servicers.
            draining: Set at the moment from which long-lived streams must end.
            failure: Set by the server when it can serve no more.
        """
        self._settings = settings
        self._registrations = tuple(registrations)
        self._draining = draining or asyncio.Event()
        self._names = [registration.service_name for registration in registrations]
        self._certificates: CertificateWatch | None = None
        self._health = health.aio.HealthServicer()
        self._calls = RpcsLayer(calls=settings.max_concurrent_rpcs, streams=settings.max_streams)
        self._streams = StreamsLayer()
        cache_seconds = settings.auth_cache_seconds
        self._keys = Keys(
            key_source(settings.auth_jwks, cache_seconds=cache_seconds), cache_seconds=cache_seconds
        )
        verifier = Verifier(
            self._keys,
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
            leeway_seconds=settings.auth_leeway_seconds,
        )
        errors = ErrorLayer()
        layers: list[Layer] = [
            ServerTelemetry(),
            errors,
            self._calls,
            self._streams,
            DeadlineLayer(),
            AuthenticationLayer(verifier),
            PersonLayer(settings.max_calls_per_user),
            AuthorisationLayer(),
        ]
        self._interceptor = LayeredInterceptor(
            layers, infrastructure=[errors, OpenStreamsLayer(_OPEN_STREAMS), self._streams]
        )
        self._server = LastingServer(
            self._make_server,
            self._bind,
            failed=failure or asyncio.Event(),
            grace_seconds=settings.grace_seconds,
        )

    def _make_server(self) -> grpc.aio.Server:
        settings = self._settings
        server = grpc.aio.server(
            interceptors=[self._interceptor],
            # A last resort; `RpcsLayer` refuses earlier, with details.
            maximum_concurrent_rpcs=2 * settings.max_concurrent_rpcs
            + settings.max_streams
            + _INFRASTRUCTURE_CALLS,
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                # What the edge lets through, 16 KiB, and what it adds. Between the limits that grpc
                # has by itself, 8 and 16 KiB, it refuses at random.
                ("grpc.max_metadata_size", 32 * 1024),
                ("grpc.absolute_max_metadata_size", 32 * 1024),
                # Two servers on one port would share its connections unnoticed.
                ("grpc.so_reuseport", 0),
                # Connections that say nothing are not kept for two minutes.
                ("grpc.server_handshake_timeout_ms", 20_000),
                # Envoy pings an idle connection every 30 s.
                ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
                ("grpc.keepalive_permit_without_calls", 1),
                # Connections move to new replicas in time.
                ("grpc.max_connection_age_ms", 30 * 60_000),
                ("grpc.max_connection_age_grace_ms", 60_000),
            ],
        )
        for registration in self._registrations:
            registration.add_to_server(registration.servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if settings.reflection:
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
                MeshReflection(self._names), server
            )
        return server

    async def start(self) -> int:
        """Begins to accept calls; health says NOT_SERVING until `set_serving`.

        Returns:
            The port, which the system chose if the settings say 0.

        Raises:
            CertificateError: A file of TLS cannot be used.
            KeysUnreadable: The keys of tokens are no keys, or their file cannot be read.
            OSError: The address is in use or cannot be bound.
        """
        await self.set_serving(False)
        await self._keys.start()
        try:
            self._watch_certificates()
            port = await self._server.start(self._settings.listen)
        except BaseException:
            await self._keys.stop()
            raise
        if self._certificates is not None:
            self._certificates.start()
        return port

    def _bind(self, server: grpc.aio.Server, listen: str) -> int:
        try:
            _try_to_bind(listen)
            if self._certificates is None:
                return server.add_insecure_port(listen)
            return server.add_secure_port(listen, server_credentials(self._certificates))
        except (OSError, RuntimeError) as error:
            why = error.strerror if isinstance(error, OSError) else "the port is in use"
            raise OSError(f"cannot listen on {listen}: {why} (MARQUEE_LISTEN)") from error

    def _watch_certificates(self) -> None:
        if self._settings.server_tls is not None:
            self._certificates = CertificateWatch(self._settings.server_tls, roles=SERVER_ROLES)

    async def set_serving(self, serving: bool) -> None:
        """Answers health checks of the server and of each of its services."""
        status = _SERVING if serving else _NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def drain(self) -> None:
        """Ends without failing anybody: not serving, a pause to be noticed, then no new calls.

        Calls under way get the grace of the settings; grpc answers CANCELLED to calls that were
        queued when it ends, which is why the pause comes first. Streams that wait for `draining`
        end after the pause, so that those who resume are sent to a replica that stays; those that
        do not wait for it are ended a second later, with UNAVAILABLE.
        """
        grace = self._settings.grace_seconds
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.drain_seconds)
        self._draining.set()
        async with asyncio.TaskGroup() as ending:
            ending.create_task(self._streams.end(min(_STREAMS_END_SECONDS, grace / 2)))
            ending.create_task(self._server.stop(grace))
        if self._certificates is not None:
            self._certificates.stop()
        # grpc cancels what is left and does not wait for it; what it stands on ends next.
        if not await self._calls.wait_until_idle(_HANDLERS_END_SECONDS):
            _log.warning("calls do not end", seconds=_HANDLERS_END_SECONDS)
        await self._keys.stop()


def _try_to_bind(listen: str) -> None:
    """Binds and lets go: unlike grpc, the system says why an address cannot be had.

    Raises:
        OSError: The address is in use or not of this machine.
    """
    host, _, port = listen.rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
