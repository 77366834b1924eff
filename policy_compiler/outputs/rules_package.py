"""The modules of the package `marquee_policy`: the rules as Python literals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from policy_compiler.model import Named, Rule

GENERATED: Final = "Generated from the contracts by `python -m policy_compiler`; do not edit."

_INIT: Final = f'''"""The policy of every RPC, and what clients and the edge make of it.

{GENERATED} Needs the standard library only.
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
'''

_METHOD_POLICY: Final = f'''"""The shape of a policy. {GENERATED}"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPolicy:
    """The policy of one RPC.

    Attributes:
        method: Full path, `/marquee.user.v1.UserService/GetUser`.
        default_timeout: Seconds a call may take when the caller sets no deadline; None: unlimited.
        max_timeout: The longest deadline in seconds a caller may set; None: unlimited.
        retry_safe: Whether a call that failed with UNAVAILABLE may be sent again.
        client_streaming: Whether the request is a stream.
        server_streaming: Whether the reply is a stream.
        scope: The scope a token must carry, as tokens write it: `users.read`.
        subject_field: Dotted path to the ids of the users whose data the call touches; empty: it
            touches no single person's data.
        subject_optional: Whether that field may be empty.
        cost: Units of the caller's rate budget.
    """

    method: str
    default_timeout: float | None
    max_timeout: float | None
    retry_safe: bool
    client_streaming: bool
    server_streaming: bool
    scope: str
    subject_field: str
    subject_optional: bool
    cost: int
'''


def render_init() -> str:
    """Returns `__init__.py`."""
    return _INIT


def render_method_policy() -> str:
    """Returns `method_policy.py`."""
    return _METHOD_POLICY


def render_rules(rules: Sequence[Rule], scopes: Sequence[Named]) -> str:
    """Returns `rules.py`."""
    lines = [
        f'"""The rules. {GENERATED}"""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping",
        "from types import MappingProxyType",
        "from typing import Final",
        "",
        "from marquee_policy.method_policy import MethodPolicy",
        "",
        "SCOPES: Final[Mapping[str, str]] = MappingProxyType(",
        "    {",
        *(f"        {_text(scope.name)}: {_text(scope.comment)}," for scope in scopes),
        "    }",
        ")",
        '"""What each scope is for."""',
        "",
        "POLICIES: Final[Mapping[str, MethodPolicy]] = MappingProxyType(",
        "    {",
        *(line for rule in rules for line in _entry(rule)),
        "    }",
        ")",
        '"""The policy of every RPC by its full path."""',
    ]
    return "\n".join(lines) + "\n"


def _entry(rule: Rule) -> list[str]:
    path = _text(rule.rpc.path)
    return [
        f"        {path}: MethodPolicy(",
        f"            method={path},",
        f"            default_timeout={_seconds(rule.default_timeout)},",
        f"            max_timeout={_seconds(rule.max_timeout)},",
        f"            retry_safe={rule.retry_safe},",
        f"            client_streaming={rule.rpc.client_streaming},",
        f"            server_streaming={rule.rpc.server_streaming},",
        f"            scope={_text(rule.scope)},",
        f"            subject_field={_text(rule.subject_field)},",
        f"            subject_optional={rule.subject_optional},",
        f"            cost={rule.cost},",
        "        ),",
    ]


def _text(value: str) -> str:
    # A JSON string is a Python literal; on one line, whatever the comment had.
    return json.dumps(" ".join(value.split()), ensure_ascii=False)


def _seconds(duration: timedelta | None) -> str:
    return repr(None if duration is None else duration.total_seconds())
