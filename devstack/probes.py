"""Readiness probes: each asks a component, over its own protocol, whether it can work."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pymongo import AsyncMongoClient, uri_parser
from pymongo.errors import PyMongoError

from mesh.tls.files import TlsFiles

Probe = Callable[[], Awaitable[bool]]
"""True when the component is ready; must return within a few seconds and never raise."""

_PATIENCE_S = 2.0
_PAUSE_S = 0.05
_KAFKA_API_VERSIONS = 18


async def until(probe: Probe) -> None:
    """Waits until a probe says yes, for as long as it takes."""
    while not await probe():  # noqa: ASYNC110 - another process becomes ready, there is no event
        await asyncio.sleep(_PAUSE_S)


def mongo_hello(uri: str) -> Probe:
    """A MongoDB server that answers `hello` as a writable primary."""
    host, port = uri_parser.parse_uri(uri)["nodelist"][0]

    async def probe() -> bool:
        if not await _listens(host, port):
            return False
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            uri, serverSelectionTimeoutMS=500, timeoutMS=int(_PATIENCE_S * 1000)
        )
        try:
            reply = await client.admin.command("hello")
        except PyMongoError:
            return False
        finally:
            await client.close()
        return bool(reply.get("isWritablePrimary"))

    return probe


def kafka_api_versions(host: str, port: int) -> Probe:
    """A broker that answers Kafka's ApiVersions request (version 0) without an error."""
    client_id = b"marquee-probe"
    correlation = 1
    body = struct.pack(">hhih", _KAFKA_API_VERSIONS, 0, correlation, len(client_id)) + client_id
    request = struct.pack(">i", len(body)) + body

    async def probe() -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(request)
                    await writer.drain()
                    # size, correlation id, error code
                    _, echoed, error = struct.unpack(">iih", await reader.readexactly(10))
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False
        return bool(echoed == correlation and error == 0)

    return probe


def grpc_health(address: str, tls: TlsFiles | None = None) -> Probe:
    """A gRPC server whose health service says SERVING.

    Args:
        address: `host:port`.
        tls: Whom to trust and what to show; None: it speaks plain text.
    """
    host, _, port = address.rpartition(":")

    async def probe() -> bool:
        if not await _listens(host, int(port)):
            return False
        async with _channel(address, tls) as channel:
            try:
                reply = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=_PATIENCE_S
                )
            except grpc.aio.AioRpcError:
                return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


def envoy_live(admin: str) -> Probe:
    """An Envoy that has taken its configuration and listens; `admin` is `host:port`."""

    async def probe() -> bool:
        reply = await _admin(admin, "/ready")
        return reply is not None and reply.text.strip() == "LIVE"

    return probe


def envoy_sees(admin: str, addresses: Collection[str]) -> Probe:
    """An Envoy for which each of the given hosts, `host:port`, is healthy."""

    async def probe() -> bool:
        reply = await _admin(admin, "/clusters?format=json")
        if reply is None:
            return False
        healthy = {
            _address(host)
            for cluster in reply.json().get("cluster_statuses", [])
            for host in cluster.get("host_statuses", [])
            if _is_healthy(host)
        }
        return healthy.issuperset(addresses)

    return probe


async def _listens(host: str, port: int) -> bool:
    # Cheap, and most answers are no while a component starts; a client is not made for each.
    try:
        async with asyncio.timeout(_PATIENCE_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _channel(address: str, tls: TlsFiles | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(address)
    certificate, key, authorities = tls.contents()
    credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
    return grpc.aio.secure_channel(address, credentials)


def _address(host: dict[str, Any]) -> str:
    socket = host.get("address", {}).get("socket_address", {})
    return f"{socket.get('address')}:{socket.get('port_value')}"


def _is_healthy(host: dict[str, Any]) -> bool:
    status: dict[str, Any] = host.get("health_status", {})
    flags = set(status) - {"eds_health_status"}
    return status.get("eds_health_status") == "HEALTHY" and not flags


async def _admin(address: str, path: str) -> httpx.Response | None:
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False) as client:
            reply = await client.get(f"http://{address}{path}")
    except httpx.HTTPError:
        return None
    return reply if reply.is_success else None
