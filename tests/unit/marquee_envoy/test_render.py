from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from marquee_envoy.__main__ import main
from marquee_envoy.descriptors import mesh_descriptor_set, methods_of
from marquee_envoy.local_replies import LOCAL_REPLIES
from marquee_envoy.render import EdgeConfig, Endpoint, Upstream, render

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
            )
            for number, name in enumerate(PACKAGES)
        ),
        descriptor_set=Path("/etc/envoy/marquee.binpb"),
    )


def route_of(rendered: str, path: str) -> str:
    """The text of the route of one path."""
    (block,) = [
        block
        for block in re.split(r"\n {14}- ", rendered)
        if f"match: {{path: {json.dumps(path)}}}" in block
    ]
    return block


def test_every_rpc_has_the_route_that_its_policy_asks_for(config, contracts):
    rendered = render(config, contracts)
    for name in PACKAGES:
        for method in methods_of(contracts, f"marquee.{name}.v1"):
            route = route_of(rendered, method.path)
            assert f"cluster: {name}\n" in route
            assert "  timeout: 0s\n" in route  # deadlines are max_stream_duration's business
            assert ("idle_timeout: 0s" in route) == method.streaming
            assert ("unavailable" in route) == (method.may_retry and not method.client_streaming)
            if method.default_timeout is None:
                assert " max_stream_duration: " not in route
            else:
                seconds = method.default_timeout.total_seconds()
                assert f" max_stream_duration: {seconds:.3f}s" in route
            longest = method.max_timeout.total_seconds() if method.max_timeout else None
            expected = "0s" if longest is None else f"{longest:.3f}s"
            assert f"grpc_timeout_header_max: {expected}" in route


def test_a_long_lived_stream_is_one_of_them(config, contracts):
    route = route_of(render(config, contracts), "/marquee.notify.v1.NotificationService/Subscribe")

    assert "idle_timeout: 0s" in route


def test_names_are_resolved_and_addresses_are_not(config, contracts):
    user, reco, notify = config.upstreams
    named = replace(reco, endpoints=(Endpoint("reco.mesh", 1), Endpoint("10.0.0.1", 2)))
    rendered = render(replace(config, upstreams=(user, named, notify)), contracts)

    assert rendered.count("type: STRICT_DNS") == 1
    assert rendered.count("type: STATIC") == 2


def test_without_a_collector_there_is_no_tracer(config, contracts):
    assert "opentelemetry.v" not in render(config, contracts)
    assert "OpenTelemetryConfig" not in render(config, contracts)
    traced = render(replace(config, otlp=Endpoint("c", 4317)), contracts)
    assert "OpenTelemetryConfig" in traced
    assert "cluster_name: otlp" in traced


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
        assert ("RetryInfo" in kinds) == (reply.code in (8, 14) and reply.statuses != (413,))


def test_the_command_writes_both_files(tmp_path):
    output, descriptor_set = tmp_path / "envoy.yaml", tmp_path / "marquee.binpb"
    where = "/etc/envoy/marquee.binpb"
    arguments = ["--descriptor-set", str(descriptor_set), "--descriptor-set-at", where]
    main([*arguments, "--output", str(output)])

    assert json.dumps(where) in output.read_text()
    assert descriptor_set.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--admin", "0.0.0.0:9901"], "loopback"),
        (["--descriptor-set", "/no/such/place/x"], "cannot render"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(tmp_path, arguments, complaint):
    with pytest.raises(SystemExit) as raised:
        main(["--descriptor-set", str(tmp_path / "x"), *arguments])

    assert complaint in str(raised.value.code)
    assert "\n" not in str(raised.value.code)
