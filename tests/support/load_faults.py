"""A replica that says it is well and is not, and what the edge knows of its replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that reached a stand-in.

    Attributes:
        method: Its path.
        deadline_s: What it had left when it came; None: for ever.
        lasted_s: Until it was answered or ended by the caller's side.
    """

    method: str
    deadline_s: float | None
    lasted_s: float


@dataclass(slots=True)
class StandIn:
    """Serves on the port of a replica: healthy, and UNAVAILABLE to whoever calls.

    Attributes:
        address: Where, `host:port`.
        delay_s: How long it thinks about each call.
        attempts: The calls that reached it and have ended.
    """

    address: str
    delay_s: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serves while the body runs."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        servicer = health.aio.HealthServicer()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        server.add_generic_rpc_handlers((_Everything(self._answer),))
        server.add_insecure_port(self.address)
        await server.start()
        try:
            yield
        finally:
            await server.stop(0)

    async def _answer(self, method: str, context: Any) -> None:
        begin = asyncio.get_running_loop().time()
        deadline_s = context.time_remaining()
        try:
            await asyncio.sleep(self.delay_s)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "a stand-in that cannot")
        finally:
            lasted_s = asyncio.get_running_loop().time() - begin
            self.attempts.append(Attempt(method, deadline_s, lasted_s))


class _Everything(grpc.GenericRpcHandler):
    def __init__(self, answer: Callable[[str, Any], Awaitable[None]]) -> None:
        self._answer = answer

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = details.method
        if method.startswith("/grpc.health."):
            return None

        async def handle(_requests: Any, context: Any) -> None:
            await self._answer(method, context)

        return grpc.stream_stream_rpc_method_handler(handle)


@dataclass(frozen=True, slots=True)
class Host:
    """A replica as the edge sees it.

    Attributes:
        ejected: Whether it gets no calls for what it answered.
        unwell: Whether it gets no calls for what its health checks say.
        answered: Calls that it answered without a server's fault.
        failed: Calls that it did not.
        held: Calls that it has been given and has not answered yet.
    """

    ejected: bool
    unwell: bool
    answered: int
    failed: int
    held: int


class EdgeView:
    """Reads what the edge's administration tells."""

    def __init__(self, admin: str) -> None:
        self._client = httpx.AsyncClient(base_url=f"http://{admin}", timeout=10, trust_env=False)

    async def __aenter__(self) -> EdgeView:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._client.aclose()

    async def counters(self, cluster: str) -> dict[str, int]:
        """The counters of a cluster by their names within it, such as `upstream_rq_retry`."""
        prefix = f"cluster.{cluster}."
        reply = await self._client.get("/stats", params={"filter": f"^cluster\\.{cluster}\\."})
        lines = (line.removeprefix(prefix).split(": ") for line in reply.text.splitlines())
        return {name: int(value) for name, value in lines if value.isdecimal()}

    async def host(self, cluster: str, address: str) -> Host:
        """One replica."""
        reply = await self._client.get("/clusters", params={"format": "json"})
        (host,) = (
            host
            for status in reply.json()["cluster_statuses"]
            if status["name"] == cluster
            for host in status["host_statuses"]
            if _address(host) == address
        )
        stats = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
        flags = host.get("health_status", {})
        return Host(
            ejected=bool(flags.get("failed_outlier_check")),
            unwell=bool(flags.get("failed_active_health_check")),
            answered=stats["rq_success"],
            failed=stats["rq_error"],
            held=stats["rq_active"],
        )


def _address(host: dict[str, Any]) -> str:
    socket = host["address"]["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"
