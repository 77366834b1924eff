"""Renders Envoy's configuration for the edge."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from marquee_envoy.clusters import address, clusters
from marquee_envoy.config import EdgeConfig, ensure_sound
from marquee_envoy.descriptors import mesh_descriptor_set, read_descriptor_set
from marquee_envoy.identity import keys_listeners
from marquee_envoy.listener import listener
from marquee_envoy.overload import overload_manager
from marquee_envoy.rules import RouteRule, rules_of_the_contracts
from marquee_envoy.tls import secret_files
from marquee_envoy.yaml import Tree, to_yaml


def render(
    config: EdgeConfig,
    contracts: FileDescriptorSet | None = None,
    rules: Iterable[RouteRule] | None = None,
) -> str:
    """Envoy's configuration, as YAML.

    Args:
        config: The edge.
        contracts: What the descriptor set holds, if the file is not where Envoy will find it.
        rules: What holds for each RPC; None: what the contracts say.

    Raises:
        ValueError: The configuration makes no sense, or no RPC belongs to some upstream.
        OSError: The descriptor set cannot be read.
    """
    return to_yaml(bootstrap(config, contracts, rules))


def bootstrap(
    config: EdgeConfig,
    contracts: FileDescriptorSet | None = None,
    rules: Iterable[RouteRule] | None = None,
) -> Tree:
    """What `render` writes, as a tree."""
    ensure_sound(config)
    known = list(rules_of_the_contracts() if rules is None else rules)
    by_upstream = {
        upstream.name: [rule for rule in known if rule.package == upstream.package]
        for upstream in config.upstreams
    }
    for upstream in config.upstreams:
        if not by_upstream[upstream.name]:
            raise ValueError(f"the contracts have no service in package {upstream.package}")
    dearest = max(rule.cost for rule in known)
    if config.rate_per_s and config.rate_burst < dearest:
        raise ValueError(f"rate_burst must be at least {dearest}, the cost of the dearest call")
    descriptor_set = contracts or read_descriptor_set(config.descriptor_set)
    return {
        "node": {"id": "marquee-edge", "cluster": "marquee-edge"},
        "admin": {"address": address(config.admin), "ignore_global_conn_limit": True},
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    # A trace is looked at soon after the call.
                    "static_layer": {"tracing.opentelemetry.flush_interval_ms": 500},
                }
            ]
        },
        "overload_manager": overload_manager(config),
        "static_resources": {
            "listeners": [
                *keys_listeners(config),
                listener(config, by_upstream, descriptor_set),
            ],
            "clusters": clusters(config),
        },
    }


def write_edge(config: EdgeConfig, path: Path, rules: Iterable[RouteRule] | None = None) -> None:
    """Writes all that Envoy reads, where it is to run on this machine.

    The contracts go to `config.descriptor_set`, the secret files into `config.secrets`.

    Args:
        config: The edge.
        path: Where to write the configuration itself.
        rules: As `render` takes them.

    Raises:
        ValueError: As `render`.
        OSError: Something cannot be written.
    """
    contracts = mesh_descriptor_set()
    rendered = render(config, contracts, rules)
    config.descriptor_set.write_bytes(contracts.SerializeToString(deterministic=True))
    for name, content in secret_files(config).items():
        assert config.secrets is not None
        config.secrets.mkdir(parents=True, exist_ok=True)
        (config.secrets / name).write_text(content, encoding="utf-8")
    path.write_text(rendered, encoding="utf-8")
