"""Settings whose effect takes too long, or too much, to be shown: that they are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from marquee_envoy.config import EdgeConfig, Endpoint, ServerTls, Upstream, UpstreamTls
from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.render import bootstrap

CONFIG = EdgeConfig(
    listen=Endpoint("0.0.0.0", 8080),
    admin=Endpoint("127.0.0.1", 9901),
    upstreams=tuple(
        Upstream(
            name=name,
            package=f"marquee.{name}.v1",
            endpoints=(Endpoint("10.0.0.1", 50051),),
            sticky=name == "reco",
            san=f"{name}.mesh",
        )
        for name in ("user", "reco", "notify")
    ),
    descriptor_set=Path("/etc/envoy/marquee.binpb"),
    issuer="https://id.example",
    audience="marquee",
    jwks=Path("/etc/envoy/jwks.json"),
)
CONTRACTS = mesh_descriptor_set()


def tree_of(**changes):
    return bootstrap(replace(CONFIG, **changes), CONTRACTS)


def at(tree, path):
    """What is at a path such as `a/0/b`."""
    for part in path.split("/"):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree


def manager_of(tree):
    return tree["static_resources"]["listeners"][-1]["filter_chains"][0]["filters"][0][
        "typed_config"
    ]


def cluster_of(tree, name="user"):
    return next(c for c in tree["static_resources"]["clusters"] if c["name"] == name)


def filter_of(tree, name):
    return next(f["typed_config"] for f in manager_of(tree)["http_filters"] if f["name"] == name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("use_remote_address", True),
        ("normalize_path", True),
        ("merge_slashes", True),
        ("path_with_escaped_slashes_action", "REJECT_REQUEST"),
        ("server_header_transformation", "OVERWRITE"),
        ("max_request_headers_kb", 16),
        ("request_headers_timeout", "10s"),
        ("stream_idle_timeout", "300s"),
        ("drain_timeout", "5s"),
        ("common_http_protocol_options/idle_timeout", "3600s"),
        ("common_http_protocol_options/max_headers_count", 100),
        ("common_http_protocol_options/headers_with_underscores_action", "REJECT_REQUEST"),
        ("http2_protocol_options/max_concurrent_streams", 100),
        ("http2_protocol_options/initial_stream_window_size", 65536),
        ("http2_protocol_options/initial_connection_window_size", 1048576),
        ("http2_protocol_options/connection_keepalive", {"interval": "60s", "timeout": "20s"}),
        ("http2_protocol_options/override_stream_error_on_invalid_http_message", True),
    ],
)
def test_the_connection_manager(path, value):
    assert at(manager_of(tree_of()), path) == value


@pytest.mark.parametrize("name", ["user", "reco", "notify"])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("connect_timeout", "1s"),
        ("per_connection_buffer_limit_bytes", 1 << 20),
        ("common_lb_config/healthy_panic_threshold/value", 0),
        ("health_checks/0/interval", "1s"),
        ("health_checks/0/unhealthy_interval", "1s"),
        ("health_checks/0/unhealthy_threshold", 2),
        ("health_checks/0/healthy_threshold", 1),
        ("outlier_detection/max_ejection_percent", 50),
        ("outlier_detection/always_eject_one_host", False),
        ("outlier_detection/base_ejection_time", "10s"),
        ("outlier_detection/max_ejection_time", "60s"),
        ("outlier_detection/successful_active_health_check_uneject_host", False),
        ("outlier_detection/enforcing_consecutive_gateway_failure", 100),
        ("outlier_detection/enforcing_failure_percentage", 100),
        ("common_lb_config/update_merge_window", "0s"),
        ("circuit_breakers/thresholds/0/max_connections", 1024),
        ("circuit_breakers/thresholds/0/max_pending_requests", 1024),
        ("circuit_breakers/thresholds/0/max_requests", 1024),
        ("circuit_breakers/thresholds/0/retry_budget/budget_percent/value", 20),
        ("circuit_breakers/thresholds/0/retry_budget/min_retry_concurrency", 3),
    ],
)
def test_every_service(name, path, value):
    assert at(cluster_of(tree_of(), name), path) == value


def test_only_the_sticky_one_is_hashed():
    tree = tree_of()

    assert cluster_of(tree, "reco")["lb_policy"] == "RING_HASH"
    balance = "common_lb_config/consistent_hashing_lb_config/hash_balance_factor"
    assert at(cluster_of(tree, "reco"), balance) == 150
    assert cluster_of(tree, "user")["lb_policy"] == "LEAST_REQUEST"


def test_connections_to_services_are_kept_alive_and_bounded():
    for name in ("user", "reco", "notify"):
        (options,) = cluster_of(tree_of(), name)["typed_extension_protocol_options"].values()
        http2 = options["explicit_http_config"]["http2_protocol_options"]
        assert http2["connection_keepalive"] == {"interval": "30s", "timeout": "10s"}
        assert http2["max_concurrent_streams"] == 100


def test_listeners_drain_and_buffers_are_bounded():
    listener = tree_of(max_json_bytes=12345)["static_resources"]["listeners"][-1]

    assert listener["drain_type"] == "DEFAULT"
    assert listener["per_connection_buffer_limit_bytes"] == 12345


def test_memory_and_connections_have_limits():
    manager = tree_of(max_heap_bytes=1 << 29, max_connections=77)["overload_manager"]
    monitors = {
        monitor["name"]: monitor["typed_config"] for monitor in manager["resource_monitors"]
    }

    heap = monitors["envoy.resource_monitors.fixed_heap"]
    assert heap["max_heap_size_bytes"] == 1 << 29
    connections = monitors["envoy.resource_monitors.global_downstream_max_connections"]
    assert connections["max_active_downstream_connections"] == 77
    steps = [action["name"].rpartition(".")[2] for action in manager["actions"]]
    assert steps == [
        "shrink_heap",
        "reset_high_memory_stream",
        "disable_http_keepalive",
        "stop_accepting_requests",
    ]


def test_tokens_are_verified_for_all_but_what_is_open():
    verifier = filter_of(tree_of(), "envoy.filters.http.jwt_authn")
    *open_rules, last = verifier["rules"]
    (provider,) = verifier["providers"].values()

    assert last == {"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}
    assert [rule["match"]["prefix"] for rule in open_rules] == [
        "/grpc.health.v1.Health/",
        "/grpc.reflection.v1.ServerReflection/",
        "/grpc.reflection.v1alpha.ServerReflection/",
    ]
    assert not any("requires" in rule for rule in open_rules)
    assert provider["issuer"] == "https://id.example"
    assert provider["audiences"] == ["marquee"]
    assert provider["forward"] is True
    assert provider["require_expiration"] is True
    assert provider["clock_skew_seconds"] == 30
    # It would let withdrawn keys in for as long as a token lasts.
    assert "jwt_cache_config" not in provider


def test_the_order_of_the_filters():
    names = [f["name"].rpartition(".")[2] for f in manager_of(tree_of())["http_filters"]]

    # Nothing of a request is looked into, and nothing is sent on, before its token is verified.
    assert names == [
        "header_to_metadata",
        "cors",
        "grpc_web",
        "token_guard",
        "jwt_authn",
        "local_ratelimit",
        "rbac",
        "json_guard",
        "grpc_json_transcoder",
        "router",
    ]


def test_a_route_without_a_word_lets_nobody_through():
    rules = filter_of(tree_of(), "envoy.filters.http.rbac")["rules"]

    assert rules == {"action": "ALLOW", "policies": {}}


def test_limits_are_enforced_for_all():
    limits = filter_of(tree_of(), "envoy.filters.http.local_ratelimit")

    for setting in ("filter_enabled", "filter_enforced"):
        assert limits[setting]["default_value"] == {"numerator": 100, "denominator": "HUNDRED"}
    caller, address = limits["descriptors"]
    assert caller["token_bucket"] == {
        "max_tokens": 10_000,
        "tokens_per_fill": 2_000,
        "fill_interval": "1s",
    }
    assert address["token_bucket"]["tokens_per_fill"] == 100


def test_keys_from_an_address():
    tree = tree_of(jwks="https://id.example/keys?x=1", jwks_cache_s=300.0)
    (provider,) = filter_of(tree, "envoy.filters.http.jwt_authn")["providers"].values()
    cluster = cluster_of(tree, "keys")

    assert provider["remote_jwks"]["http_uri"]["uri"] == "https://id.example/keys?x=1"
    assert provider["remote_jwks"]["cache_duration"] == "300s"
    assert provider["remote_jwks"]["retry_policy"]["num_retries"] == 2
    assert cluster["type"] == "STRICT_DNS"
    tls = cluster["transport_socket"]["typed_config"]
    assert tls["sni"] == "id.example"
    trust = tls["common_tls_context"]["validation_context"]
    assert trust["trusted_ca"] == {"filename": "/etc/ssl/certs/ca-certificates.crt"}
    assert trust["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "id.example"}}
    ]
    assert len(tree["static_resources"]["listeners"]) == 1


def test_tls_is_1_2_at_least_and_expects_names():
    tree = tree_of(
        tls=ServerTls(
            certificate=Path("/t/c.pem"), key=Path("/t/k.pem"), client_ca=Path("/t/a.pem")
        ),
        upstream_tls=UpstreamTls(ca=Path("/t/a.pem")),
        secrets=Path("/t/sds"),
    )
    chain = tree["static_resources"]["listeners"][-1]["filter_chains"][0]
    server = chain["transport_socket"]["typed_config"]
    client = cluster_of(tree)["transport_socket"]["typed_config"]

    assert server["require_client_certificate"] is True
    for side in (server, client):
        common = side["common_tls_context"]
        assert common["tls_params"] == {"tls_minimum_protocol_version": "TLSv1_2"}
        assert common["alpn_protocols"][0] == "h2"
    assert client["sni"] == "user.mesh"
    expected = "common_tls_context/combined_validation_context/default_validation_context"
    assert at(client, expected)["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "user.mesh"}}
    ]
