"""Routes: one per RPC, and the few that ask for no token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from marquee_envoy import scopes
from marquee_envoy.config import AFFINITY_HEADER, REFLECTION_SCOPE_HEADER, EdgeConfig
from marquee_envoy.limits import COST, OPEN
from marquee_envoy.names import (
    CORS,
    HASH_HEADER,
    LUA_TOKEN,
    METADATA,
    RBAC,
    typed,
)
from marquee_envoy.rules import RouteRule
from marquee_envoy.yaml import Tree

OPEN_SERVICES: Final = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
"""What may be called without a token: probes and the public contracts."""

OPEN_PRIORITY: Final = "HIGH"
"""Which of Envoy's priorities calls without a token have; each has its own circuit breakers."""

_OPEN_SILENCE = "60s"
"""How long such a call may say nothing."""

_EXPOSED = "grpc-status,grpc-message,grpc-status-details-bin"
_ALLOWED = (
    "authorization,content-type,grpc-timeout,traceparent,tracestate,x-grpc-web,x-user-agent,"
    + AFFINITY_HEADER
)
_NO_SPANS: Final[Tree] = {
    sampling: {"numerator": 0}
    for sampling in ("client_sampling", "random_sampling", "overall_sampling")
}
"""Probes and tools would drown the traces of calls."""


def route_configuration(config: EdgeConfig, rules: Mapping[str, Iterable[RouteRule]]) -> Tree:
    """The routes of the edge.

    Args:
        config: The edge.
        rules: The RPCs of each upstream, by its name.
    """
    return {
        "name": "edge",
        "virtual_hosts": [
            {
                "name": "mesh",
                "domains": ["*"],
                "typed_per_filter_config": {CORS: _cors(config)},
                "routes": [
                    *(_route(rule, name) for name, found in rules.items() for rule in found),
                    *(_open_route(service, config) for service in OPEN_SERVICES),
                    _nothing_else(),
                ],
            }
        ],
    }


def _route(rule: RouteRule, cluster: str) -> Tree:
    longest: Tree = {"grpc_timeout_header_max": rule.grpc_timeout_header_max}
    if rule.max_stream_duration is not None:
        longest["max_stream_duration"] = rule.max_stream_duration
    action: Tree = {
        "cluster": cluster,
        # Deadlines are max_stream_duration's business; this one would cut streams.
        "timeout": rule.timeout,
        "max_stream_duration": longest,
        "retry_policy": {
            "retry_on": rule.retry_on,
            "num_retries": rule.num_retries,
            "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
            # Hosts are drawn by lot: so often again until it is another one.
            "host_selection_retry_max_attempts": 10,
            "retry_host_predicate": [
                typed(
                    "envoy.retry_host_predicates.previous_hosts",
                    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                )
            ],
        },
    }
    if rule.idle_timeout is not None:
        action["idle_timeout"] = rule.idle_timeout
    if rule.hash_by_caller:
        # Clusters that are not sticky pay no heed to it.
        action["hash_policy"] = [{"header": {"header_name": HASH_HEADER}}]
    return {
        "name": rule.operation,
        "match": {"path": rule.path},
        "decorator": {"operation": rule.operation, "propagate": False},
        "metadata": _known(**{COST: rule.cost}, **scopes.route_metadata(rule.scope)),
        "typed_per_filter_config": {RBAC: scopes.required(rule.scope)},
        "route": action,
    }


def _open_route(service: str, config: EdgeConfig) -> Tree:
    return {
        "match": {"prefix": f"/{service}/", "grpc": {}},
        "tracing": _NO_SPANS,
        "request_headers_to_add": [
            {
                "header": {"key": REFLECTION_SCOPE_HEADER, "value": "mesh"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
        "metadata": _known(**{OPEN: "1"}),
        "typed_per_filter_config": {RBAC: scopes.none_required(), LUA_TOKEN: _no_token()},
        "route": {
            "cluster": config.upstreams[0].name,
            # Counted apart from the calls of those who show a token; see `clusters`.
            "priority": OPEN_PRIORITY,
            "timeout": "0s",
            "idle_timeout": _OPEN_SILENCE,
            "max_stream_duration": {"grpc_timeout_header_max": "0s"},
        },
    }


def _nothing_else() -> Tree:
    # Without a policy nothing is passed on: what a service serves beyond the contracts that this
    # edge knows is closed until the edge knows them too.
    return {
        "match": {"prefix": "/"},
        "typed_per_filter_config": {RBAC: scopes.none_required()},
        "direct_response": {"status": 404},
    }


def _known(**values: object) -> Tree:
    return {"filter_metadata": {METADATA: values}}


def _no_token() -> Tree:
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute",
        "disabled": True,
    }


def _cors(config: EdgeConfig) -> Tree:
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [
            {"safe_regex": {"regex": ".*"}} if origin == "*" else {"exact": origin}
            for origin in config.cors_origins
        ],
        "allow_methods": "POST",
        "allow_headers": _ALLOWED,
        "expose_headers": _EXPOSED,
        "max_age": "600",
    }
