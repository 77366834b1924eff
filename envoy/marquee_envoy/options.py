"""The options of `python -m marquee_envoy`."""

from __future__ import annotations

import argparse
from pathlib import Path

from marquee_envoy.config import EdgeConfig, Endpoint


def parser_of_options() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m marquee_envoy",
        description="Render Envoy's configuration for the edge of the mesh.",
    )
    _add_addresses(parser)
    _add_identity(parser)
    _add_tls(parser)
    _add_observation(parser)
    _add_files(parser)
    return parser


def _add_addresses(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    for name, port in (("user", 50051), ("reco", 50052), ("notify", 50053)):
        add(
            f"--{name}",
            metavar="HOST:PORT",
            type=_endpoint,
            nargs="+",
            default=[Endpoint("127.0.0.1", port)],
            help=f"where the {name} service listens (default 127.0.0.1:{port})",
        )
    add("--listen", metavar="HOST:PORT", type=_endpoint, default=Endpoint("0.0.0.0", 8080))  # noqa: S104 - an edge in an image is there to be reached
    add("--admin", metavar="HOST:PORT", type=_endpoint, default=Endpoint("127.0.0.1", 9901))
    add("--cors-origin", metavar="ORIGIN", action="append", help="may be repeated (default: none)")


def _add_identity(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--issuer", metavar="ISS", required=True, help="whose tokens are taken")
    add("--audience", metavar="AUD", required=True, help="for whom tokens must be")
    add(
        "--jwks",
        metavar="PATH|URL",
        type=_path_or_url,
        required=True,
        help="the keys of the issuer: a file, where Envoy will find it, or an http(s) URL",
    )
    add(
        "--jwks-allow-http",
        action="store_true",
        help="it may be an http URL of another machine, since something else encrypts it",
    )
    add(
        "--jwks-cache-seconds",
        metavar="SECONDS",
        type=float,
        default=_default("jwks_cache_s"),
        help="how long keys from a URL are believed (default %(default)g)",
    )
    add(
        "--jwks-ca",
        metavar="PATH",
        type=Path,
        default=_default("jwks_ca"),
        help="who certifies an https URL of keys (default %(default)s)",
    )
    add(
        "--rate-per-second",
        metavar="UNITS",
        type=int,
        default=_default("rate_per_s"),
        help="what a caller may spend, in units of the policies' cost (default %(default)s)",
    )
    add("--rate-burst", metavar="UNITS", type=int, default=_default("rate_burst"))


def _add_tls(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tls-cert", metavar="PATH", type=Path, help="the certificate of the edge's port")
    add("--tls-key", metavar="PATH", type=Path)
    add("--tls-client-ca", metavar="PATH", type=Path, help="who certifies callers: mTLS")
    add("--upstream-ca", metavar="PATH", type=Path, help="who certifies the services: TLS to them")
    add("--upstream-cert", metavar="PATH", type=Path, help="what the edge shows to services")
    add("--upstream-key", metavar="PATH", type=Path)
    for name in ("user", "reco", "notify"):
        add(f"--{name}-san", metavar="NAME", default=name, help=f"default {name}")
    add("--secrets", metavar="DIR", type=Path, help="where to write what Envoy's TLS reads")
    add("--secrets-at", metavar="DIR", type=Path, help="where Envoy will find it, if elsewhere")


def _add_observation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--otlp", metavar="HOST:PORT", type=_endpoint, help="OTLP/gRPC trace collector")
    add("--access-log", metavar="PATH", default=_default("access_log"))
    add("--trace-percent", metavar="PERCENT", type=float, default=_default("trace_percent"))


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--descriptor-set",
        metavar="PATH",
        type=Path,
        required=True,
        help="where to write the mesh's descriptor set, which Envoy reads",
    )
    add(
        "--descriptor-set-at",
        metavar="PATH",
        type=Path,
        help="where Envoy will find it, if that is another place",
    )
    add("--output", metavar="PATH", type=Path, help="where to write the configuration")


def _default(name: str) -> object:
    return EdgeConfig.__dataclass_fields__[name].default


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _path_or_url(text: str) -> Path | str:
    return text if "://" in text else Path(text)
