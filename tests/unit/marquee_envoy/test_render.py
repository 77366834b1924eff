from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from marquee_envoy.__main__ import main
from marquee_envoy.config import EdgeConfig, Endpoint, Upstream
from marquee_envoy.descriptors import mesh_descriptor_set
from marquee_envoy.local_replies import LOCAL_REPLIES
from marquee_envoy.render import bootstrap, render

from mesh import contracts as mesh_contracts

PACKAGES = ("user", "reco", "notify")


@pytest.fixture(scope="module")
def contracts() -> FileDescriptorSet:
    return mesh_descriptor_set()


@pytest.fixture
def config() -> EdgeConfig:
    return EdgeConfig(
        listen=Endpoint("127.0.0.1", 8080),
        admin=Endpoint("127.0.0.1", 9901),
        upstreams=tuple(
            Upstream(
                name=name,
                package=f"marquee.{name}.v1",
                endpoints=(Endpoint("127.0.0.1", 50051 + number),),
                sticky=name == "reco",
            )
            for number, name in enumerate(PACKAGES)
        ),
        descriptor_set=Path("/etc/envoy/marquee.binpb"),
        issuer="https://id.example",
        audience="marquee",
        jwks=Path("/etc/envoy/jwks.json"),
    )


def routes_of(tree):
    manager = tree["static_resources"]["listeners"][-1]["filter_chains"][0]["filters"][0]
    return manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]


def cluster_of(tree, name):
    return next(c for c in tree["static_resources"]["clusters"] if c["name"] == name)


def test_every_rpc_has_the_route_that_its_policy_asks_for(config, contracts):
    routes = {
        route["match"].get("path"): route for route in routes_of(bootstrap(config, contracts))
    }
    policies = mesh_contracts.policies()

    assert set(routes) == {*policies, None}
    for path, policy in policies.items():
        route, action = routes[path], routes[path]["route"]
        streaming = policy.client_streaming or policy.server_streaming
        assert action["cluster"] == path.split(".")[1]
        assert action["timeout"] == "0s"  # deadlines are max_stream_duration's business
        assert action.get("idle_timeout") == ("0s" if streaming else None)
        resend = policy.retry_safe and not policy.client_streaming
        assert ("unavailable" in action["retry_policy"]["retry_on"].split(",")) == resend
        limits = action["max_stream_duration"]
        assert limits.get("max_stream_duration") == seconds(policy.default_timeout)
        assert limits["grpc_timeout_header_max"] == (seconds(policy.max_timeout) or "0s")
        known = route["metadata"]["filter_metadata"]["marquee"]
        assert (known["scope"], known["cost"]) == (policy.scope, policy.cost)
        (allowed,) = route["typed_per_filter_config"]["envoy.filters.http.rbac"]["rbac"]["rules"][
            "policies"
        ]
        assert allowed == policy.scope
        assert ("hash_policy" in action) == bool(policy.subject_field)


def seconds(value):
    return None if value is None else f"{value:.3f}s"


def test_names_are_resolved_and_addresses_are_not(config, contracts):
    user, reco, notify = config.upstreams
    named = replace(reco, endpoints=(Endpoint("reco.mesh", 1), Endpoint("10.0.0.1", 2)))
    tree = bootstrap(replace(config, upstreams=(user, named, notify)), contracts)

    assert cluster_of(tree, "reco")["type"] == "STRICT_DNS"
    assert cluster_of(tree, "user")["type"] == cluster_of(tree, "notify")["type"] == "STATIC"


def test_without_a_collector_there_is_no_tracer(config, contracts):
    assert "opentelemetry.v" not in render(config, contracts)
    assert "OpenTelemetryConfig" not in render(config, contracts)
    traced = render(replace(config, otlp=Endpoint("c", 4317)), contracts)
    assert "OpenTelemetryConfig" in traced
    assert 'cluster_name: "otlp"' in traced


def test_values_cannot_break_out_of_their_place(config, contracts):
    evil = 'x"}\nadmin: {address: evil}'
    rendered = render(replace(config, access_log=evil, cors_origins=(evil,)), contracts)

    assert "\nadmin: {address: evil}" not in rendered


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "admin.example", "::"])
def test_the_admin_interface_stays_on_loopback(config, contracts, host):
    with pytest.raises(ValueError, match="loopback"):
        render(replace(config, admin=Endpoint(host, 9901)), contracts)


def test_an_upstream_needs_endpoints_and_a_service(config, contracts):
    user, reco, notify = config.upstreams
    with pytest.raises(ValueError, match="user has no endpoint"):
        render(replace(config, upstreams=(replace(user, endpoints=()),)), contracts)
    with pytest.raises(ValueError, match=r"no service in package marquee\.nothing\.v1"):
        render(
            replace(config, upstreams=(reco, notify, replace(user, package="marquee.nothing.v1"))),
            contracts,
        )
    with pytest.raises(ValueError, match="at least one"):
        render(replace(config, upstreams=()), contracts)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("a.b:80", Endpoint("a.b", 80)),
        ("127.0.0.1:65535", Endpoint("127.0.0.1", 65535)),
        ("[::1]:50051", Endpoint("::1", 50051)),
    ],
)
def test_addresses_are_read(text, endpoint):
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "host:0", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="write host:port"):
        Endpoint.parse(text)


def test_the_edges_own_errors_carry_their_reason():
    assert len({reply.reason for reply in LOCAL_REPLIES}) == len(LOCAL_REPLIES)
    statuses = [status for reply in LOCAL_REPLIES for status in reply.statuses]
    assert len(set(statuses)) == len(statuses)
    for reply in LOCAL_REPLIES:
        info = reply.as_json["details"][0]
        assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
        assert (info["reason"], info["domain"]) == (reply.reason, "marquee")
        kinds = [detail["@type"].rpartition(".")[2] for detail in reply.as_json["details"]]
        # Those that pass by themselves say when to try again.
        assert ("RetryInfo" in kinds) == (reply.code in (8, 14))


REQUIRED = ["--issuer", "i", "--audience", "a", "--jwks", "/etc/envoy/jwks.json"]


def test_the_command_writes_the_files(tmp_path):
    output, descriptor_set = tmp_path / "envoy.yaml", tmp_path / "marquee.binpb"
    where = "/etc/envoy/marquee.binpb"
    arguments = ["--descriptor-set", str(descriptor_set), "--descriptor-set-at", where]
    arguments += ["--tls-cert", "/tls/c.pem", "--tls-key", "/tls/k.pem"]
    arguments += ["--secrets", str(tmp_path / "sds"), "--secrets-at", "/etc/envoy/sds"]
    main([*REQUIRED, *arguments, "--output", str(output)])

    assert json.dumps(where) in output.read_text()
    assert "/etc/envoy/sds/edge_certificate.json" in output.read_text()
    assert descriptor_set.stat().st_size > 1000
    assert [file.name for file in (tmp_path / "sds").iterdir()] == ["edge_certificate.json"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--admin", "0.0.0.0:9901"], "loopback"),
        (["--descriptor-set", "/no/such/place/x"], "cannot render"),
        (["--jwks", "ftp://id.example/keys"], "http"),
        (["--jwks", "http://id.example/keys"], "--jwks-allow-http"),
        (["--jwks", "http://10.0.0.1/keys"], "must be https://"),
        (["--jwks", "https://user:secret@id.example/keys"], "without credentials"),
        (["--tls-cert", "/c.pem"], "go together"),
        (["--tls-cert", "/c.pem", "--tls-key", "/k.pem"], "secret files"),
        (["--upstream-cert", "/c.pem"], "without a CA"),
        (["--rate-per-second", "5", "--rate-burst", "4"], "at least rate_per_s"),
        (["--rate-per-second", "5", "--rate-burst", "6"], "the dearest call"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(tmp_path, arguments, complaint):
    with pytest.raises(SystemExit) as raised:
        main([*REQUIRED, "--descriptor-set", str(tmp_path / "x"), *arguments])

    assert complaint in str(raised.value.code)
    assert "\n" not in str(raised.value.code)


@pytest.mark.parametrize(
    "arguments",
    [
        ["http://127.0.0.1:8000/keys"],
        ["http://[::1]:8000/keys"],
        ["http://localhost/keys"],
        ["http://id.example/keys", "--jwks-allow-http"],
    ],
)
def test_keys_come_in_the_clear_from_this_machine_or_where_it_is_allowed(tmp_path, arguments):
    output = tmp_path / "envoy.yaml"
    where = ["--descriptor-set", str(tmp_path / "x.binpb"), "--output", str(output)]
    main([*REQUIRED, *where, "--jwks", *arguments])
    assert json.dumps(arguments[0]) in output.read_text()
