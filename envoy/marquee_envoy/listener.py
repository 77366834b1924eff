"""The edge's port: connections, headers, and the filters that a request passes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from marquee_envoy import tls
from marquee_envoy.clusters import address
from marquee_envoy.config import AFFINITY_HEADER, EdgeConfig
from marquee_envoy.identity import authentication_filter
from marquee_envoy.json_schema import lua_schema
from marquee_envoy.limits import rate_limit_filters
from marquee_envoy.mappers import ANSWERED, REFUSAL, local_reply_config, note_of_the_form
from marquee_envoy.names import CLAIMS, CORS, HASH_HEADER, JWT_AUTHN, LUA_TOKEN, METADATA, typed
from marquee_envoy.routes import route_configuration
from marquee_envoy.rules import RouteRule
from marquee_envoy.scopes import scope_filter
from marquee_envoy.status import ERROR_DOMAIN
from marquee_envoy.telemetry import access_logs, tracing
from marquee_envoy.yaml import Tree

_LUA: Final = Path(__file__).with_name("lua")
_HTTP = "envoy.extensions.filters.http"


def listener(
    config: EdgeConfig,
    rules: Mapping[str, Sequence[RouteRule]],
    contracts: FileDescriptorSet,
) -> Tree:
    """The listener of the edge.

    Args:
        config: The edge.
        rules: The RPCs of each upstream, by its name.
        contracts: The descriptor set.
    """
    chain: Tree = {"filters": [_connection_manager(config, rules, contracts)]}
    if config.tls:
        chain["transport_socket"] = tls.listener_socket(config, config.tls)
        chain["transport_socket_connect_timeout"] = "10s"
    return {
        "name": "edge",
        "address": address(config.listen),
        # Bounds what is buffered per stream, the JSON form of a request above all.
        "per_connection_buffer_limit_bytes": config.max_json_bytes,
        # Connections end gracefully when health checks fail and when listeners are drained.
        "drain_type": "DEFAULT",
        "filter_chains": [chain],
    }


def _connection_manager(
    config: EdgeConfig,
    rules: Mapping[str, Sequence[RouteRule]],
    contracts: FileDescriptorSet,
) -> Tree:
    services = list(dict.fromkeys(rule.service for found in rules.values() for rule in found))
    fields: Tree = {
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "server_name": "marquee",
        "server_header_transformation": "OVERWRITE",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "early_header_mutation_extensions": [_own_headers_only()],
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            "max_headers_count": 100,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1048576,
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
            # One request that is not HTTP ends itself, not all others on its connection.
            "override_stream_error_on_invalid_http_message": True,
        },
        "max_request_headers_kb": 16,
        "request_headers_timeout": "10s",
        # A stream may last, but not in silence; routes of streaming RPCs lift this.
        "stream_idle_timeout": f"{config.stream_idle_s:g}s",
        "drain_timeout": f"{config.drain_s:g}s",
        "http_filters": list(_filters(config, services, contracts)),
        "local_reply_config": local_reply_config(),
        "access_log": access_logs(config),
        "route_config": route_configuration(config, rules),
    }
    spans = tracing(config)
    if spans:
        fields["tracing"] = spans
    return typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **fields,
    )


def _own_headers_only() -> Tree:
    """Takes out what callers send under names that Envoy or the mesh give a meaning to."""
    return typed(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
            {"remove": HASH_HEADER},
            {"append": _copy(AFFINITY_HEADER, HASH_HEADER)},
            {"remove_on_match": {"key_matcher": {"prefix": "x-marquee-"}}},
            # Envoy's spans would carry these, whatever a caller has written into them.
            {"remove": "user-agent"},
            {"remove": "x-request-id"},
            {"remove": "x-client-trace-id"},
        ],
    )


def _copy(source: str, target: str) -> Tree:
    # At most 256 characters, as ids of users have.
    return {
        "header": {"key": target, "value": f"%REQ({source}):256%"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _filters(
    config: EdgeConfig, services: Sequence[str], contracts: FileDescriptorSet
) -> Iterator[Tree]:
    yield note_of_the_form()
    yield typed(CORS, f"{_HTTP}.cors.v3.Cors")
    yield typed("envoy.filters.http.grpc_web", f"{_HTTP}.grpc_web.v3.GrpcWeb")
    yield _lua(LUA_TOKEN, [*_NAMES, _program("token_guard")])
    yield authentication_filter(config)
    yield from rate_limit_filters(config)
    yield scope_filter()
    schema = lua_schema(contracts, services)
    programs = [_program(name) for name in ("json_text", "json_reader", "json_guard")]
    yield _lua("marquee.json_guard", [*_NAMES, schema, *programs])
    yield typed(
        "envoy.filters.http.grpc_json_transcoder",
        f"{_HTTP}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=str(config.descriptor_set),
        services=list(services),
        auto_mapping=True,
        convert_grpc_status=True,
        # Lines rather than one array: a stream's messages can be read as they come.
        print_options={"always_print_primitive_fields": True, "stream_newline_delimited": True},
        max_request_body_size=config.max_json_bytes,
        max_response_body_size=4194304,
    )
    yield typed(
        "envoy.filters.http.router", f"{_HTTP}.router.v3.Router", suppress_envoy_headers=True
    )


def _lua(name: str, programs: Iterable[str]) -> Tree:
    return typed(
        name,
        f"{_HTTP}.lua.v3.Lua",
        default_source_code={"inline_string": "\n".join(programs)},
    )


def _program(name: str) -> str:
    return (_LUA / f"{name}.lua").read_text(encoding="utf-8")


_NAMES: Final = [
    f"local {name} = {json.dumps(value)}"
    for name, value in {
        "ANSWERED": ANSWERED,
        "CLAIMS": CLAIMS,
        "ERROR_DOMAIN": ERROR_DOMAIN,
        "HASH_HEADER": HASH_HEADER,
        "JWT_AUTHN": JWT_AUTHN,
        "METADATA": METADATA,
        "REFUSAL": REFUSAL,
    }.items()
]
"""What the programs call by name, as Lua."""
