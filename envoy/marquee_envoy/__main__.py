"""`python -m marquee_envoy`: renders the edge's configuration for images and by hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from marquee_envoy.config import EdgeConfig, ServerTls, Upstream, UpstreamTls
from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.options import parser_of_options
from marquee_envoy.render import render
from marquee_envoy.tls import secret_files

_SERVICES = ("user", "reco", "notify")
_STICKY = "reco"  # its replicas cache what they know of users


def main(arguments: list[str] | None = None) -> None:
    """Writes the files that Envoy reads, and prints or writes the configuration.

    Raises:
        SystemExit: An argument is wrong; one line on standard error says which.
    """
    options = parser_of_options().parse_args(arguments)
    try:
        contracts = mesh_descriptor_set()
        config = _config(options)
        rendered = render(config, contracts)
        options.descriptor_set.write_bytes(contracts.SerializeToString(deterministic=True))
        for name, content in secret_files(config).items():
            options.secrets.mkdir(parents=True, exist_ok=True)
            (options.secrets / name).write_text(content, encoding="utf-8")
        if options.output is None:
            sys.stdout.write(rendered)
        else:
            options.output.write_text(rendered, encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.exit(f"cannot render the edge's configuration: {error}")


def _config(options: argparse.Namespace) -> EdgeConfig:
    secrets = options.secrets.absolute() if options.secrets else None
    return EdgeConfig(
        listen=options.listen,
        admin=options.admin,
        upstreams=tuple(
            Upstream(
                name=name,
                package=f"marquee.{name}.v1",
                endpoints=tuple(getattr(options, name)),
                sticky=name == _STICKY,
                san=getattr(options, f"{name}_san"),
            )
            for name in _SERVICES
        ),
        descriptor_set=options.descriptor_set_at or options.descriptor_set.absolute(),
        issuer=options.issuer,
        audience=options.audience,
        jwks=options.jwks,
        jwks_allow_http=options.jwks_allow_http,
        jwks_cache_s=options.jwks_cache_seconds,
        jwks_ca=options.jwks_ca,
        rate_per_s=options.rate_per_second,
        rate_burst=options.rate_burst,
        tls=_server_tls(options),
        upstream_tls=_upstream_tls(options),
        secrets=options.secrets_at or secrets,
        otlp=options.otlp,
        access_log=options.access_log,
        trace_percent=options.trace_percent,
        cors_origins=tuple(options.cors_origin or ()),
    )


def _server_tls(options: argparse.Namespace) -> ServerTls | None:
    certificate, key, client_ca = options.tls_cert, options.tls_key, options.tls_client_ca
    if (certificate is None) != (key is None) or (client_ca and certificate is None):
        raise ValueError("--tls-cert and --tls-key go together, and --tls-client-ca with them")
    return certificate and ServerTls(certificate=certificate, key=key, client_ca=client_ca)


def _upstream_tls(options: argparse.Namespace) -> UpstreamTls | None:
    certificate: Path | None = options.upstream_cert
    if options.upstream_ca is None:
        if certificate or options.upstream_key:
            raise ValueError("--upstream-cert and --upstream-key are of no use without a CA")
        return None
    return UpstreamTls(ca=options.upstream_ca, certificate=certificate, key=options.upstream_key)


if __name__ == "__main__":
    main()
