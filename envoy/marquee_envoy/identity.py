"""Authentication at the edge: how tokens are verified, and where their keys come from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from marquee_envoy.config import EdgeConfig, Endpoint
from marquee_envoy.names import CLAIMS, FAILURE, JWT_AUTHN, KEYS, typed
from marquee_envoy.routes import OPEN_SERVICES
from marquee_envoy.yaml import Tree

_PROVIDER: Final = "issuer"
_FILE_CACHE: Final = "7s"
"""Envoy fetches keys 5 s before they expire: it looks at a file every other second."""
_LARGEST_FILE: Final = 1 << 20
"""As the services have it."""


def authentication_filter(config: EdgeConfig) -> Tree:
    """The filter that lets only verified tokens through, save to what is open to all."""
    return typed(
        JWT_AUTHN,
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={_PROVIDER: _provider(config)},
        rules=[
            *({"match": {"prefix": f"/{service}/"}} for service in OPEN_SERVICES),
            # The first match counts, and what matches nothing is not authenticated at all.
            {"match": {"prefix": "/"}, "requires": {"provider_name": _PROVIDER}},
        ],
    )


def _provider(config: EdgeConfig) -> Tree:
    # There is no jwt_cache_config: Envoy's cache of tokens would accept a token for as long as
    # it lasts, though its key has been withdrawn.
    return {
        "issuer": config.issuer,
        "audiences": [config.audience],
        "subjects": {"safe_regex": {"regex": ".+"}},
        "require_expiration": True,
        "clock_skew_seconds": config.leeway_s,
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        # The services verify again.
        "forward": True,
        "payload_in_metadata": CLAIMS,
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope", "scp"]},
        "failed_status_in_metadata": FAILURE,
        "remote_jwks": _keys(config),
    }


def _keys(config: EdgeConfig) -> Tree:
    if config.jwks_url is None:
        # The very first attempt comes before the edge listens to itself.
        return _fetched(f"http://{KEYS}/", _FILE_CACHE, again_after="0.1s")
    retries = {
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
    }
    fetched = _fetched(str(config.jwks), f"{config.jwks_cache_s:g}s", again_after="1s")
    return {**fetched, "retry_policy": retries}


def _fetched(url: str, cache: str, *, again_after: str) -> Tree:
    return {
        "http_uri": {"uri": url, "cluster": KEYS, "timeout": "2s"},
        "cache_duration": cache,
        "async_fetch": {"failed_refetch_duration": again_after},
    }


def keys_listeners(config: EdgeConfig) -> list[Tree]:
    """The listener that serves a file of keys to the edge itself; none if they have a URL.

    Envoy reads `local_jwks` once. It does follow the file of a direct response, so the edge
    fetches the keys from itself.
    """
    if not isinstance(config.jwks, Path):
        return []
    answer = {
        "status": 200,
        "body": {
            "filename": str(config.jwks),
            "watched_directory": {"path": str(config.jwks.parent)},
        },
    }
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=KEYS,
        route_config={
            # By default Envoy answers with 4 KiB at most, which is a dozen and a half of keys.
            "max_direct_response_body_size_bytes": _LARGEST_FILE,
            "virtual_hosts": [
                {
                    "name": KEYS,
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": answer}],
                }
            ],
        },
        http_filters=[
            typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")
        ],
    )
    return [
        {
            "name": KEYS,
            "address": _own_address(config),
            "ignore_global_conn_limit": True,
            "bypass_overload_manager": True,
            "filter_chains": [{"filters": [manager]}],
        }
    ]


def _own_address(config: EdgeConfig) -> Tree:
    # A socket of Linux's abstract namespace needs no port and no directory. Envoy's own internal
    # listeners would not do: its main thread, which fetches keys, cannot reach them.
    return {"pipe": {"path": f"@marquee-edge-keys-{config.listen.port}"}}


def keys_cluster(config: EdgeConfig) -> Tree:
    """The cluster that has the keys."""
    url = config.jwks_url
    if url is None:
        return {"name": KEYS, "connect_timeout": "1s", "load_assignment": _at(_own_address(config))}
    secure = url.scheme == "https"
    assert url.hostname is not None
    endpoint = Endpoint(url.hostname, url.port or (443 if secure else 80))
    address: Tree = {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}
    cluster: Tree = {
        "name": KEYS,
        "type": "STATIC" if endpoint.is_ip else "STRICT_DNS",
        "dns_lookup_family": "ALL",
        "connect_timeout": "2s",
        "load_assignment": _at(address),
    }
    if secure:
        cluster["transport_socket"] = _certified(endpoint.host, config.jwks_ca, endpoint.is_ip)
    return cluster


def _certified(host: str, ca: Path, is_ip: bool) -> Tree:
    fields: Tree = {} if is_ip else {"sni": host}
    return typed(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "validation_context": {
                "trusted_ca": {"filename": str(ca)},
                "match_typed_subject_alt_names": [
                    {"san_type": "IP_ADDRESS" if is_ip else "DNS", "matcher": {"exact": host}}
                ],
            },
        },
        **fields,
    )


def _at(address: Tree) -> Tree:
    return {
        "cluster_name": KEYS,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
    }
