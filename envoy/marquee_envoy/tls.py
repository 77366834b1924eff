"""TLS of the edge's port and towards the services, with certificates that may be renewed.

Envoy reads certificates that a configuration names once. It follows those that reach it by its
secret discovery service, which may read files too: `secret_files` makes those files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from marquee_envoy.config import EdgeConfig, ServerTls, Upstream, UpstreamTls
from marquee_envoy.names import typed
from marquee_envoy.yaml import Tree

_SERVER: Final = "edge_certificate"
_CLIENT_CA: Final = "edge_client_ca"
_TOWARDS: Final = "upstream_certificate"
_TOWARDS_CA: Final = "upstream_ca"
_OLDEST: Final[Tree] = {"tls_minimum_protocol_version": "TLSv1_2"}


def secret_files(config: EdgeConfig) -> Mapping[str, str]:
    """The files to put into `config.secrets`: their names and what they hold.

    They name certificates and keys, and hold none. Envoy looks at those again whenever something
    is moved into their directories, so a renewed certificate is to be put there by renaming.
    """
    secrets: dict[str, Tree] = {}
    if config.tls:
        secrets[_SERVER] = _certificate(config.tls.certificate, config.tls.key)
        if config.tls.client_ca:
            secrets[_CLIENT_CA] = _authorities(config.tls.client_ca)
    towards = config.upstream_tls
    if towards:
        secrets[_TOWARDS_CA] = _authorities(towards.ca)
        if towards.certificate and towards.key:
            secrets[_TOWARDS] = _certificate(towards.certificate, towards.key)
    return {_file(name): _resource(name, secret) for name, secret in secrets.items()}


def listener_socket(config: EdgeConfig, tls: ServerTls) -> Tree:
    """TLS of the edge's port."""
    common: Tree = {
        "tls_params": _OLDEST,
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [_secret(_SERVER, config)],
    }
    if tls.client_ca:
        common["validation_context_sds_secret_config"] = _secret(_CLIENT_CA, config)
    return typed(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=tls.client_ca is not None,
    )


def cluster_socket(config: EdgeConfig, tls: UpstreamTls, upstream: Upstream) -> Tree:
    """TLS towards one service, for its calls and its health checks."""
    common: Tree = {
        "tls_params": _OLDEST,
        "alpn_protocols": ["h2"],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [
                    {"san_type": "DNS", "matcher": {"exact": upstream.san}}
                ]
            },
            "validation_context_sds_secret_config": _secret(_TOWARDS_CA, config),
        },
    }
    if tls.certificate:
        common["tls_certificate_sds_secret_configs"] = [_secret(_TOWARDS, config)]
    return typed(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=upstream.san,
        common_tls_context=common,
    )


def _secret(name: str, config: EdgeConfig) -> Tree:
    assert config.secrets is not None
    source = {"path": str(config.secrets / _file(name))}
    return {
        "name": name,
        "sds_config": {"path_config_source": source, "resource_api_version": "V3"},
    }


def _certificate(certificate: Path, key: Path) -> Tree:
    return {
        "tls_certificate": {
            "certificate_chain": {"filename": str(certificate)},
            "private_key": {"filename": str(key)},
            "watched_directory": {"path": str(certificate.parent)},
        }
    }


def _authorities(ca: Path) -> Tree:
    return {
        "validation_context": {
            "trusted_ca": {"filename": str(ca)},
            "watched_directory": {"path": str(ca.parent)},
        }
    }


def _resource(name: str, secret: Tree) -> str:
    message = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return json.dumps({"resources": [{"@type": message, "name": name, **secret}]}, indent=2) + "\n"


def _file(name: str) -> str:
    return f"{name}.json"
