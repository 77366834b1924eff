"""Clusters: the services, how replicas are chosen among, and which are left out."""

from __future__ import annotations

from collections.abc import Iterable

from marquee_envoy import tls
from marquee_envoy.config import EdgeConfig, Endpoint, Upstream, Watch
from marquee_envoy.identity import keys_cluster
from marquee_envoy.names import HASH_HEADER, typed
from marquee_envoy.routes import OPEN_PRIORITY
from marquee_envoy.yaml import Tree

_OPEN_CALLS = 100


def clusters(config: EdgeConfig) -> list[Tree]:
    """Everything that the edge connects to."""
    made = [_service(config, upstream) for upstream in config.upstreams]
    made.append(keys_cluster(config))
    if config.otlp:
        made.append({**_reached("otlp", [config.otlp]), **_by_http2()})
    return made


def address(endpoint: Endpoint) -> Tree:
    """An address as Envoy writes it."""
    return {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}


def _service(config: EdgeConfig, upstream: Upstream) -> Tree:
    cluster: Tree = {
        **_reached(upstream.name, upstream.endpoints),
        **_by_http2(_without_the_hash()),
        **(_same_replica_for_a_user() if upstream.sticky else {"lb_policy": "LEAST_REQUEST"}),
        "per_connection_buffer_limit_bytes": 1 << 20,
        "health_checks": [_health_check(config.watch)],
        "outlier_detection": _outliers(config.watch),
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 1024,
                    "max_pending_requests": 1024,
                    "max_requests": 1024,
                    "track_remaining": True,
                    "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 3},
                },
                # Anybody may begin calls that need no token, and leave them open.
                {
                    "priority": OPEN_PRIORITY,
                    "max_pending_requests": _OPEN_CALLS,
                    "max_requests": _OPEN_CALLS,
                },
            ]
        },
    }
    cluster.setdefault("common_lb_config", {}).update(
        {
            # A host that says NOT_SERVING is draining: better no answer than one from there. As
            # Envoy ejects at most half for what they answer, there is nothing to panic about.
            "healthy_panic_threshold": {"value": 0},
            # By default Envoy gathers what it learns of replicas for a second before it heeds it: a
            # replica that has just come back could fail a second's calls before it is left out.
            "update_merge_window": "0s",
        }
    )
    if config.upstream_tls:
        cluster["transport_socket"] = tls.cluster_socket(config, config.upstream_tls, upstream)
    return cluster


def _reached(name: str, endpoints: Iterable[Endpoint]) -> Tree:
    found = list(endpoints)
    return {
        "name": name,
        "type": "STATIC" if all(endpoint.is_ip for endpoint in found) else "STRICT_DNS",
        # Whatever the resolver prefers; a name may have addresses of one family only.
        "dns_lookup_family": "ALL",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": address(endpoint)}} for endpoint in found
                    ]
                }
            ],
        },
    }


def _by_http2(*filters: Tree) -> Tree:
    protocol: Tree = {
        "explicit_http_config": {
            "http2_protocol_options": {
                "max_concurrent_streams": 100,
                "initial_stream_window_size": 65536,
                "initial_connection_window_size": 1048576,
                # One caller's malformed header must not stay in the table that grpc's core keeps of
                # a connection: later headers refer to its name there, and are refused with it.
                "hpack_table_size": 0,
                # Finds a dead peer under an idle stream. The servers must allow such pings.
                "connection_keepalive": {"interval": "30s", "timeout": "10s"},
            }
        }
    }
    if filters:
        codec = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
        protocol["http_filters"] = [*filters, typed("envoy.filters.http.upstream_codec", codec)]
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "typed_extension_protocol_options": {
            name: {"@type": f"type.googleapis.com/{name}", **protocol}
        }
    }


def _without_the_hash() -> Tree:
    # Here and no earlier: routes take headers out before a replica is chosen.
    return typed(
        "envoy.filters.http.header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [{"remove": HASH_HEADER}]},
    )


def _same_replica_for_a_user() -> Tree:
    return {
        "lb_policy": "RING_HASH",
        "ring_hash_lb_config": {"minimum_ring_size": 1024},
        "common_lb_config": {
            # A replica with half as much again to do as the average passes the rest on: one very
            # busy user must not drown it.
            "consistent_hashing_lb_config": {"hash_balance_factor": 150}
        },
    }


def _health_check(watch: Watch) -> Tree:
    return {
        "timeout": f"{watch.check_timeout_s:g}s",
        "interval": f"{watch.check_interval_s:g}s",
        "unhealthy_interval": f"{watch.recheck_interval_s:g}s",
        "no_traffic_interval": f"{watch.recheck_interval_s:g}s",
        "no_traffic_healthy_interval": f"{watch.check_interval_s:g}s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }


def _outliers(watch: Watch) -> Tree:
    return {
        "interval": f"{watch.ejection_interval_s:g}s",
        "base_ejection_time": f"{watch.ejection_time_s:g}s",
        "max_ejection_time": f"{max(60.0, watch.ejection_time_s):g}s",
        # One of two, one of three; never the only one.
        "max_ejection_percent": 50,
        "always_eject_one_host": False,
        # UNAVAILABLE and its kind in a row, whatever the other replicas do.
        "consecutive_gateway_failure": watch.failures_in_a_row,
        "enforcing_consecutive_gateway_failure": 100,
        # INTERNAL or UNIMPLEMENTED in a row may be one caller's doing; as nearly all that a
        # replica answers they are not.
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "failure_percentage_threshold": watch.failing_percent,
        "enforcing_failure_percentage": 100,
        "failure_percentage_minimum_hosts": 2,
        "failure_percentage_request_volume": watch.failing_calls,
        # Connections that fail count apart, and as soon.
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": watch.failures_in_a_row,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        # The health check asks whether a replica wants calls, not whether it answers them well;
        # by default its yes would undo an ejection at once.
        "successful_active_health_check_uneject_host": False,
    }
