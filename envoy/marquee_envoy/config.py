"""What differs between one edge and another."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

REFLECTION_SCOPE_HEADER: Final = "x-marquee-reflection-scope"
"""Set by the edge, never by its callers: asks a service to describe the whole mesh."""

AFFINITY_HEADER: Final = "x-marquee-affinity"
"""May be set by callers that speak for many: the id of the user whom the call is about."""


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

    @property
    def is_ip(self) -> bool:
        """Whether the host is an address rather than a name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def is_loopback(self) -> bool:
        """Whether only processes on the same machine reach it."""
        return self.is_ip and ipaddress.ip_address(self.host).is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A service behind the edge: serves every RPC of one Protobuf package."""

    name: str
    """The name of the Envoy cluster."""
    package: str
    endpoints: tuple[Endpoint, ...]
    sticky: bool = False
    """Whether calls about one user go to one replica, whose caches then know that user."""
    san: str = ""
    """The DNS name that the certificate of its servers must carry; needed with `upstream_tls`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """TLS of the edge's port. Files are in PEM form, named as Envoy will find them."""

    certificate: Path
    """The certificate and its intermediates."""
    key: Path
    client_ca: Path | None = None
    """Then callers must show a certificate that one of these authorities signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """TLS towards the services. Files are in PEM form, named as Envoy will find them."""

    ca: Path
    """The authorities that sign the services' certificates."""
    certificate: Path | None = None
    """What the edge shows of itself, where services ask for it."""
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the edge finds out which replicas are well."""

    check_interval_s: float = 1.0
    """Between two health checks of a replica that is well; a replica that is about to end must wait
    longer than this and `check_timeout_s` (MARQUEE_DRAIN_SECONDS) before it takes no more calls."""
    recheck_interval_s: float = 1.0
    """Between two health checks of a replica that is not, or of which nothing is known yet."""
    check_timeout_s: float = 1.0
    failures_in_a_row: int = 5
    """So many calls answered with UNAVAILABLE or its kind, and a replica is left out a while."""
    failing_percent: int = 80
    """Also one that fails so many of an interval's calls in any way that is the server's fault."""
    failing_calls: int = 20
    """How many calls of an interval it takes to judge a replica by their share."""
    ejection_interval_s: float = 5.0
    ejection_time_s: float = 10.0
    """How long it gets no calls; as many times longer as it has been so before, to a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """Everything that differs between one edge and another."""

    listen: Endpoint
    admin: Endpoint
    upstreams: tuple[Upstream, ...]
    """The first one also answers health checks and reflection for the whole mesh."""
    descriptor_set: Path
    """The contracts, where Envoy will read them; absolute."""
    issuer: str
    """The `iss` of every token."""
    audience: str
    """Must be the `aud` of every token, or among them."""
    jwks: Path | str
    """The keys of the issuer: a file, which is to be replaced by renaming, or an http(s) URL."""
    jwks_allow_http: bool = False
    """Whether that may be an http URL of another machine, since something else encrypts it."""
    jwks_cache_s: float = 60.0
    """How long keys from a URL are believed; those in a file are looked at every other second."""
    jwks_ca: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    """The authorities that certify an https URL of keys."""
    leeway_s: int = 30
    """How far clocks may differ."""
    rate_per_s: int = 2_000
    """Units a caller may spend per second; each RPC's policy names its cost. 0: any number."""
    rate_burst: int = 10_000
    """Units that a caller may spend at once."""
    open_rate_per_s: int = 100
    """Calls per second from one address to what asks for no token: health, reflection. 0: any."""
    open_rate_burst: int = 500
    tls: ServerTls | None = None
    """None: the edge speaks plain text."""
    upstream_tls: UpstreamTls | None = None
    """None: the services are called in plain text."""
    secrets: Path | None = None
    """The directory, as Envoy sees it, of what `secret_files` returns; needed with TLS."""
    watch: Watch = field(default_factory=Watch)
    otlp: Endpoint | None = None
    """Where traces go, by OTLP over gRPC; None: nowhere."""
    access_log: str = "/dev/stdout"
    trace_percent: float = 100.0
    """The share of requests, of those that arrive without a sampling decision, to trace."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose scripts may call by grpc-web or JSON; `*` means any."""
    stream_idle_s: float = 300.0
    """How long a call may be silent before it is ended; streaming RPCs may be for ever."""
    drain_s: float = 5.0
    """How long HTTP/2 connections that are asked to end may still begin calls."""
    max_heap_bytes: int = 1 << 30
    """Above 95 % of this the edge refuses new requests."""
    max_connections: int = 10_000
    max_json_bytes: int = 1 << 20
    """The largest request in the JSON form."""

    @property
    def jwks_url(self) -> SplitResult | None:
        """Where the keys are fetched; None: they are in a file."""
        return None if isinstance(self.jwks, Path) else urlsplit(self.jwks)


def ensure_sound(config: EdgeConfig) -> None:
    """Checks what the types do not say.

    Raises:
        ValueError: Something does not fit; the message is for operators.
    """
    if not config.upstreams:
        raise ValueError("the edge needs at least one upstream")
    for upstream in config.upstreams:
        if not upstream.endpoints:
            raise ValueError(f"upstream {upstream.name} has no endpoint")
        if config.upstream_tls and not upstream.san:
            raise ValueError(f"upstream {upstream.name} needs a san, for upstream_tls is set")
    if not config.admin.is_loopback:
        raise ValueError(
            f"the admin interface may listen on loopback only, not on {config.admin.host}"
        )
    if not config.issuer or not config.audience:
        raise ValueError("the edge needs the issuer and the audience of tokens")
    if config.rate_per_s and config.rate_burst < config.rate_per_s:
        raise ValueError("rate_burst must be at least rate_per_s")
    if config.open_rate_per_s and config.open_rate_burst < config.open_rate_per_s:
        raise ValueError("open_rate_burst must be at least open_rate_per_s")
    _ensure_keys_can_be_had(config)
    _ensure_tls_is_whole(config)


def _ensure_keys_can_be_had(config: EdgeConfig) -> None:
    url = config.jwks_url
    if url is None:
        if not Path(config.jwks).is_absolute():
            raise ValueError(f"the path of the keys must be absolute, not {config.jwks}")
        return
    # A password in the URL would end up in logs and in Envoy's administration.
    if url.scheme not in ("http", "https") or not url.hostname or url.username is not None:
        raise ValueError("jwks must be a path or an http(s) URL without credentials")
    if url.scheme == "http" and not config.jwks_allow_http and not _stays_here(url.hostname):
        raise ValueError(
            "jwks must be https://…, for http://… leaves this machine in the clear; allow it by "
            "jwks_allow_http (--jwks-allow-http) where something else encrypts the connection"
        )
    if config.jwks_cache_s < 1:
        raise ValueError("jwks_cache_s must be at least 1")


def _stays_here(host: str) -> bool:
    return host == "localhost" or Endpoint(host, 80).is_loopback


def _ensure_tls_is_whole(config: EdgeConfig) -> None:
    if (config.tls or config.upstream_tls) and config.secrets is None:
        raise ValueError("with TLS the edge needs the directory of its secret files")
    towards = config.upstream_tls
    if towards and (towards.certificate is None) != (towards.key is None):
        raise ValueError("upstream_tls needs both certificate and key, or neither")
