"""`service_config.json`: the gRPC service config that clients load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from policy_compiler.model import Rule
from policy_compiler.outputs.durations import seconds

_RETRY: Final = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # AIP-194: the one code that says that nothing was done and that the same call may do better.
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# gRFC A6: a failure takes one token, a success gives a tenth of one back, and with half of them
# gone nothing is retried. A storm ends after 50 failures; from then on, ten successes earn a retry.
_THROTTLING: Final = {"maxTokens": 100, "tokenRatio": 0.1}


def render_service_config(rules: Sequence[Rule]) -> str:
    """Returns the file.

    No call takes longer than its RPC's longest timeout; those that are safe to repeat are retried
    on UNAVAILABLE. The default timeouts are not in it: a client would take them for limits, too.
    Clients on gRPC's C core (C++, Python, Ruby) end a call one to two seconds before the timeout
    written here (grpc #34547) and do not tell the server of it.
    """
    config = {"methodConfig": [_method(rule) for rule in rules], "retryThrottling": _THROTTLING}
    return json.dumps(config, indent=2) + "\n"


def _method(rule: Rule) -> dict[str, Any]:
    return {
        "name": [{"service": rule.rpc.service, "method": rule.rpc.name}],
        **({"timeout": seconds(rule.max_timeout)} if rule.max_timeout else {}),
        **({"retryPolicy": _RETRY} if rule.retry_safe else {}),
    }
