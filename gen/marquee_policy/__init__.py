"""The policy of every RPC, and what clients and the edge make of it.

Generated from the contracts by `python -m policy_compiler`; do not edit. Needs the standard library only.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from marquee_policy.method_policy import MethodPolicy
from marquee_policy.rules import POLICIES, SCOPES

__all__ = ["POLICIES", "SCOPES", "MethodPolicy", "envoy_routes_json", "service_config_json"]


@cache
def service_config_json() -> str:
    """Returns the gRPC service config that a client gives its channel."""
    return _read("service_config.json")


@cache
def envoy_routes_json() -> str:
    """Returns what the edge knows of each RPC; policy_compiler/README.md describes it."""
    return _read("envoy_routes.json")


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
