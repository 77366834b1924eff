"""Renders Envoy's configuration for the edge."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import jinja2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from marquee_envoy.descriptors import Method, methods_of, read_descriptor_set
from marquee_envoy.json_schema import lua_schema
from marquee_envoy.local_replies import ERROR_DOMAIN, LOCAL_REPLIES

REFLECTION_SCOPE_HEADER = "x-marquee-reflection-scope"
"""Set by the edge, never by its callers: asks a service to describe the whole mesh."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP address."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Reads `host:port`, or `[address]:port` for IPv6.

        Raises:
            ValueError: It is neither.
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r} is not an address: write host:port")
        return cls(host, int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A service behind the edge: serves every RPC of one Protobuf package."""

    name: str
    """The name of the Envoy cluster."""
    package: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """Everything that differs between one edge and another."""

    listen: Endpoint
    admin: Endpoint
    upstreams: tuple[Upstream, ...]
    """The first one also answers health checks and reflection for the whole mesh."""
    descriptor_set: Path
    """The contracts, where Envoy will read them; absolute."""
    otlp: Endpoint | None = None
    """Where traces go, by OTLP over gRPC; None: nowhere."""
    access_log: str = "/dev/stdout"
    trace_percent: float = 100.0
    """The share of requests, of those that arrive without a sampling decision, to trace."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins whose scripts may call by grpc-web or JSON; calls carry no cookies."""
    stream_idle_s: float = 300.0
    """How long a call may be silent before it is ended; streaming RPCs may be for ever."""
    max_heap_bytes: int = 1 << 30
    """Above 95 % of this the edge refuses new requests."""
    max_connections: int = 10_000
    max_json_bytes: int = 1 << 20
    """The largest request in the JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    path: str
    cluster: str
    operation: str
    duration: str
    """How long a call without a deadline of its own may take; empty: no limit."""
    longest: str
    """The longest deadline; `0s`: any."""
    keeps_open: bool
    """Whether the stream may be silent for as long as it likes."""
    retry_on: str


def render(config: EdgeConfig, contracts: FileDescriptorSet | None = None) -> str:
    """Envoy's configuration, as YAML.

    Args:
        config: The edge.
        contracts: What the descriptor set holds, if the file is not where Envoy will find it.

    Raises:
        ValueError: An upstream has no endpoint, its package no service, or the admin interface
            would be reachable from outside.
        OSError: The descriptor set cannot be read.
    """
    _ensure_sound(config)
    descriptor_set = contracts or read_descriptor_set(config.descriptor_set)
    methods = {u.name: methods_of(descriptor_set, u.package) for u in config.upstreams}
    for upstream in config.upstreams:
        if not methods[upstream.name]:
            raise ValueError(
                f"{config.descriptor_set} has no service in package {upstream.package}"
            )
    services = list(dict.fromkeys(m.service for found in methods.values() for m in found))
    return _template().render(
        config=config,
        clusters=[
            {"name": u.name, "endpoints": u.endpoints, "type": _discovery(u.endpoints)}
            for u in config.upstreams
        ],
        otlp_discovery=_discovery([config.otlp] if config.otlp else []),
        routes=[_route(method, name) for name, found in methods.items() for method in found],
        fallbacks=[
            (service, name)
            for name, found in methods.items()
            for service in dict.fromkeys(method.service for method in found)
        ],
        services=services,
        lua=_lua(lua_schema(descriptor_set, services)),
        local_replies=LOCAL_REPLIES,
        scope_header=REFLECTION_SCOPE_HEADER,
        error_domain=ERROR_DOMAIN,
    )


def _ensure_sound(config: EdgeConfig) -> None:
    if not config.upstreams:
        raise ValueError("the edge needs at least one upstream")
    for upstream in config.upstreams:
        if not upstream.endpoints:
            raise ValueError(f"upstream {upstream.name} has no endpoint")
    if not _is_loopback(config.admin.host):
        raise ValueError(
            f"the admin interface may listen on loopback only, not on {config.admin.host}"
        )


def _route(method: Method, cluster: str) -> _Route:
    never_sent = "connect-failure,refused-stream"
    may_resend = method.may_retry and not method.client_streaming
    return _Route(
        path=method.path,
        cluster=cluster,
        operation=method.path.removeprefix("/"),
        duration=_seconds(method.default_timeout),
        longest=_seconds(method.max_timeout) or "0s",
        keeps_open=method.streaming,
        retry_on=f"{never_sent},reset-before-request,unavailable" if may_resend else never_sent,
    )


def _seconds(duration: timedelta | None) -> str:
    if duration is None:
        return ""
    return f"{duration.total_seconds():.3f}s"


def _discovery(endpoints: Iterable[Endpoint]) -> str:
    return "STATIC" if all(_is_ip(endpoint.host) for endpoint in endpoints) else "STRICT_DNS"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_ip(host) and ipaddress.ip_address(host).is_loopback


def _lua(schema: str) -> str:
    guard = Path(__file__).with_name("json_guard.lua").read_text(encoding="utf-8")
    return f"local ERROR_DOMAIN = {json.dumps(ERROR_DOMAIN)}\n{schema}\n{guard}"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is YAML; every value goes through tojson
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("envoy.yaml.j2")
