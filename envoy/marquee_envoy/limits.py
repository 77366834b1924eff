"""Rate limits: each caller's budget, and what an address may ask without a token."""

from __future__ import annotations

from typing import Final

from marquee_envoy.config import EdgeConfig
from marquee_envoy.names import CLAIMS, JWT_AUTHN, METADATA, typed
from marquee_envoy.yaml import Tree

COST: Final = "cost"
"""Where in a route's metadata it says what a call takes from its caller's budget."""
OPEN: Final = "open"
"""Where in a route's metadata it says that there is no token to know callers by."""

_CALLER: Final = "caller"
_ADDRESS: Final = "remote_address"  # Envoy's own name for it
_ALWAYS: Final[Tree] = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_UNLIMITED: Final = (1 << 32) - 1
_REMEMBERED: Final = 10_000
"""How many callers, or addresses, have a bucket at a time; the longest unseen loses its own."""


def rate_limit_filters(config: EdgeConfig) -> list[Tree]:
    """The filter, if anything is limited."""
    limits = []
    if config.rate_per_s:
        limits.append((_of_callers(), [_CALLER], config.rate_per_s, config.rate_burst))
    if config.open_rate_per_s:
        rate = (config.open_rate_per_s, config.open_rate_burst)
        limits.append((_of_addresses(), [OPEN, _ADDRESS], *rate))
    if not limits:
        return []
    return [
        typed(
            "envoy.filters.http.local_ratelimit",
            "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            stat_prefix="edge",
            # Envoy limits nobody unless told for how many per cent of requests it is to.
            filter_enabled={**_ALWAYS, "runtime_key": "edge.never_set"},
            filter_enforced={**_ALWAYS, "runtime_key": "edge.never_set"},
            token_bucket=_tokens(_UNLIMITED, _UNLIMITED),
            always_consume_default_token_bucket=False,
            rate_limits=[limit for limit, *_ in limits],
            # An entry without a value stands for each value that comes by.
            descriptors=[
                {"entries": [{"key": key} for key in keys], "token_bucket": _tokens(*rate)}
                for _, keys, *rate in limits
            ],
            max_dynamic_descriptors=_REMEMBERED,
            rate_limited_as_resource_exhausted=True,
        )
    ]


def _of_callers() -> Tree:
    return {
        "actions": [_metadata(_CALLER, JWT_AUTHN, CLAIMS, "sub", source="DYNAMIC")],
        "hits_addend": {"format": f"%METADATA(ROUTE:{METADATA}:{COST})%"},
    }


def _of_addresses() -> Tree:
    return {"actions": [_metadata(OPEN, METADATA, OPEN, source="ROUTE_ENTRY"), {_ADDRESS: {}}]}


def _metadata(key: str, namespace: str, *path: str, source: str) -> Tree:
    # Where it is not there, the limit does not apply.
    where = {"key": namespace, "path": [{"key": part} for part in path]}
    return {"metadata": {"descriptor_key": key, "metadata_key": where, "source": source}}


def _tokens(per_s: int, burst: int) -> Tree:
    return {"max_tokens": burst, "tokens_per_fill": per_s, "fill_interval": "1s"}
