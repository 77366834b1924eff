"""`envoy_routes.json`: what the edge's renderer needs to know of each RPC."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from policy_compiler.model import Rule
from policy_compiler.outputs.durations import seconds

_NEVER_SENT: Final = "connect-failure,refused-stream"
"""Failures before a service has seen the call: it may be sent again, whatever it does."""
_SAFE: Final = f"{_NEVER_SENT},reset,unavailable"
"""Also what the end of a replica has cut off, which callers would see as UNAVAILABLE."""
_NUM_RETRIES: Final = 2


def render_envoy_routes(rules: Sequence[Rule]) -> str:
    """Returns the file; README.md of this package describes its fields."""
    return json.dumps({"routes": [_route(rule) for rule in rules]}, indent=2) + "\n"


def _route(rule: Rule) -> dict[str, Any]:
    rpc = rule.rpc
    # Envoy does not keep the messages of a client's stream to send them again.
    resend = rule.retry_safe and not rpc.client_streaming
    return {
        "path": rpc.path,
        "operation": rpc.path.removeprefix("/"),
        "package": rpc.package,
        "service": rpc.service,
        "streaming": rpc.streaming,
        "timeout": "0s",
        "max_stream_duration": seconds(rule.default_timeout) if rule.default_timeout else None,
        "grpc_timeout_header_max": seconds(rule.max_timeout) if rule.max_timeout else "0s",
        "idle_timeout": "0s" if rpc.streaming else None,
        "retry_on": _SAFE if resend else _NEVER_SENT,
        "num_retries": _NUM_RETRIES,
        "scope": rule.scope,
        "cost": rule.cost,
        "hash_by_caller": bool(rule.subject_field),
    }
