"""Authorisation at the edge: the scope that each route asks for."""

from __future__ import annotations

from typing import Final

from google.rpc import code_pb2

from marquee_envoy.names import CLAIMS, JWT_AUTHN, RBAC, typed
from marquee_envoy.status import details_header
from marquee_envoy.yaml import Tree

_PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
_CLAIMS_WITH_SCOPES: Final = ("scope", "scp")
"""RFC 9068 names the first; some issuers write the second instead."""

MESSAGE: Final = "the token lacks the scope that this call needs"


def scope_filter() -> Tree:
    """The filter that lets through what its route allows, and nothing without a route's word."""
    return typed(
        RBAC,
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        rules={"action": "ALLOW", "policies": {}},
    )


def required(scope: str) -> Tree:
    """A route's word: the verified token carries the scope."""
    return {
        "@type": _PER_ROUTE,
        "rbac": {
            "rules": {
                "action": "ALLOW",
                "policies": {
                    scope: {
                        "permissions": [{"any": True}],
                        "principals": [
                            {"or_ids": {"ids": [_has(c, scope) for c in _CLAIMS_WITH_SCOPES]}}
                        ],
                    }
                },
            }
        },
    }


def none_required() -> Tree:
    """The word of a route that asks for no scope."""
    return {"@type": _PER_ROUTE}


def route_metadata(scope: str) -> Tree:
    """What the answer to a caller without the scope is made of."""
    return {
        "scope": scope,
        "scope_missing": details_header(
            code_pb2.PERMISSION_DENIED, MESSAGE, "SCOPE_MISSING", {"scope": scope}
        ),
    }


def _has(claim: str, scope: str) -> Tree:
    # The verifier has split strings at their spaces, so that a whole name is compared.
    matcher = {
        "filter": JWT_AUTHN,
        "path": [{"key": CLAIMS}, {"key": claim}],
        "value": {"list_match": {"one_of": {"string_match": {"exact": scope}}}},
    }
    return {"sourced_metadata": {"metadata_matcher": matcher}}
