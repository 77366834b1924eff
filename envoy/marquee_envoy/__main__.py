"""`python -m marquee_envoy`: renders the edge's configuration for images and by hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.render import EdgeConfig, Endpoint, Upstream, render


def main(arguments: list[str] | None = None) -> None:
    """Writes the descriptor set and prints or writes the configuration.

    Raises:
        SystemExit: An argument is wrong; one line on standard error says which.
    """
    options = _parser().parse_args(arguments)
    descriptor_set = options.descriptor_set.absolute()
    try:
        contracts = mesh_descriptor_set()
        descriptor_set.write_bytes(contracts.SerializeToString(deterministic=True))
        rendered = render(
            EdgeConfig(
                listen=options.listen,
                admin=options.admin,
                upstreams=tuple(
                    Upstream(
                        name=name,
                        package=f"marquee.{name}.v1",
                        endpoints=tuple(getattr(options, name)),
                    )
                    for name in ("user", "reco", "notify")
                ),
                descriptor_set=options.descriptor_set_at or descriptor_set,
                otlp=options.otlp,
                access_log=options.access_log,
                trace_percent=options.trace_percent,
                cors_origins=tuple(options.cors_origin or ["*"]),
            ),
            contracts,
        )
        if options.output is None:
            sys.stdout.write(rendered)
        else:
            options.output.write_text(rendered, encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.exit(f"cannot render the edge's configuration: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m marquee_envoy",
        description="Render Envoy's configuration for the edge of the mesh.",
    )
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
    add("--otlp", metavar="HOST:PORT", type=_endpoint, help="OTLP/gRPC trace collector")
    add("--access-log", metavar="PATH", default="/dev/stdout")
    add("--trace-percent", metavar="PERCENT", type=float, default=100.0)
    add("--cors-origin", metavar="ORIGIN", action="append", help="may be repeated (default *)")
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
    return parser


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    main()
