"""What the edge gives up, and in which order, before it would run out of something."""

from __future__ import annotations

from typing import Final

from marquee_envoy.config import EdgeConfig
from marquee_envoy.names import typed
from marquee_envoy.yaml import Tree

_HEAP: Final = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS: Final = "envoy.resource_monitors.global_downstream_max_connections"


def overload_manager(config: EdgeConfig) -> Tree:
    """Limits of memory and connections."""
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            typed(
                _HEAP,
                "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                max_heap_size_bytes=config.max_heap_bytes,
            ),
            typed(
                _CONNECTIONS,
                "envoy.extensions.resource_monitors.downstream_connections.v3"
                ".DownstreamConnectionsConfig",
                max_active_downstream_connections=config.max_connections,
            ),
        ],
        # Streams that hold much are found and ended, the greediest first.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "actions": [
            _from("shrink_heap", 0.90),
            {
                "name": "envoy.overload_actions.reset_high_memory_stream",
                "triggers": [
                    {
                        "name": _HEAP,
                        "scaled": {"scaling_threshold": 0.90, "saturation_threshold": 0.98},
                    }
                ],
            },
            _from("disable_http_keepalive", 0.92),
            _from("stop_accepting_requests", 0.95),
        ],
    }


def _from(action: str, share: float) -> Tree:
    return {
        "name": f"envoy.overload_actions.{action}",
        "triggers": [{"name": _HEAP, "threshold": {"value": share}}],
    }
