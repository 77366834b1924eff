"""Names that several parts of the configuration must agree on."""

from __future__ import annotations

from typing import Any, Final

from marquee_envoy.yaml import Tree

METADATA: Final = "marquee"
"""The namespace of what the edge notes about a request, and of what its routes know."""

JWT_AUTHN: Final = "envoy.filters.http.jwt_authn"
CLAIMS: Final = "claims"
"""Where in the metadata of `JWT_AUTHN` a verified token's claims are; scopes are lists there."""
FAILURE: Final = "failure"
"""Where in the metadata of `JWT_AUTHN` it says what is wrong with a token."""

CORS: Final = "envoy.filters.http.cors"
RBAC: Final = "envoy.filters.http.rbac"
LUA_TOKEN: Final = "marquee.token_guard"  # noqa: S105 - the name of a filter

HASH_HEADER: Final = "marquee-hash"
"""What sticky clusters hash; made by the edge, taken out before a service sees it."""

KEYS: Final = "keys"
"""The cluster that has the keys of tokens, and the listener inside that serves a file of them."""


def typed(name: str, message: str, /, **fields: Any) -> Tree:
    """An extension by its name, the type of its configuration, and the fields of that."""
    return {
        "name": name,
        "typed_config": {"@type": f"type.googleapis.com/{message}", **fields},
    }
