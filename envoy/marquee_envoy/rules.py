"""What the contracts say of each RPC, as the policy compiler hands it to the edge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from marquee_policy import envoy_routes_json


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One RPC. Durations are written as Envoy reads them: `1.500s`."""

    path: str
    """The request path, as gRPC and the JSON form use it."""
    operation: str
    """The path without its first slash: the name of spans."""
    package: str
    service: str
    """The full name of the service."""
    streaming: bool
    timeout: str
    max_stream_duration: str | None
    """How long a call without a deadline of its own may take; None: no limit."""
    grpc_timeout_header_max: str
    """The longest deadline; `0s`: any."""
    idle_timeout: str | None
    """How long the call may be silent, where that differs from others; `0s`: for ever."""
    retry_on: str
    num_retries: int
    scope: str
    """The scope that a token must carry, as tokens write it."""
    cost: int
    """Units of the caller's budget."""
    hash_by_caller: bool
    """Whether the call is about one user, so that replicas gain by seeing the same ones."""


def rules_of_the_contracts() -> Sequence[RouteRule]:
    """Every RPC of the mesh, from the compiled policy."""
    return [RouteRule(**route) for route in json.loads(envoy_routes_json())["routes"]]
