"""The policy of every RPC, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import marquee_policy
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from marquee.options.v1 import policy_pb2

from mesh import contracts
from mesh.peers import service_config

PROTOS = Path(__file__).resolve().parents[3] / "protos"


def test_every_rpc_has_a_policy() -> None:
    paths = {
        f"/{name}/{method.name}"
        for name, service in contracts.services().items()
        for method in service.methods
    }
    assert set(contracts.policies()) == paths
    assert all(policy.method == path for path, policy in contracts.policies().items())


@pytest.mark.parametrize("policy", contracts.policies().values(), ids=lambda p: p.method)
def test_the_policy_is_what_the_generated_code_carries(policy: contracts.MethodPolicy) -> None:
    service, _, name = policy.method.removeprefix("/").partition("/")
    method = contracts.services()[service].methods_by_name[name]
    options: Any = method.GetOptions()
    option = options.Extensions[policy_pb2.policy]
    assert policy == contracts.MethodPolicy(
        method=policy.method,
        default_timeout=_seconds(option, "default_timeout"),
        max_timeout=_seconds(option, "max_timeout"),
        retry_safe=option.retry_class == policy_pb2.RETRY_CLASS_SAFE,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        scope=contracts.scope_name(option.scope),
        subject_field=option.subject_field,
        subject_optional=option.subject_optional,
        cost=option.cost,
    )


def _seconds(option: Any, field: str) -> float | None:
    if not option.HasField(field):
        return None
    return float(getattr(option, field).ToTimedelta().total_seconds())


def test_every_scope_is_named_as_tokens_write_it() -> None:
    declared = [contracts.scope_name(scope) for scope in policy_pb2.Scope.values() if scope]
    assert list(marquee_policy.SCOPES) == declared
    assert all(marquee_policy.SCOPES.values()), "each says what it is for"


def test_the_edge_has_a_route_for_every_rpc() -> None:
    routes = json.loads(marquee_policy.envoy_routes_json())["routes"]
    assert [route["path"] for route in routes] == list(contracts.policies())


def test_the_contracts_name_all_services() -> None:
    found = {
        f"{line.split()[1]}"
        for path in PROTOS.rglob("*.proto")
        for line in path.read_text().splitlines()
        if line.startswith("service ")
    }
    assert {name.rpartition(".")[2] for name in contracts.services()} == found


def test_the_descriptor_set_stands_alone(tmp_path: Path) -> None:
    target = tmp_path / "marquee.binpb"
    contracts.write_descriptor_set(target)
    found = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in found.file:
        pool.Add(file)  # refuses a file whose imports are not there yet
    for name, service in contracts.services().items():
        assert [m.name for m in pool.FindServiceByName(name).methods] == [
            method.name for method in service.methods
        ]
    info = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.ErrorInfo"))
    sent = error_details_pb2.ErrorInfo(reason="R", domain="d")
    assert info.FromString(sent.SerializeToString()).reason == "R"


def test_the_descriptor_set_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        contracts.write_descriptor_set(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_service_config_says_what_the_policies_say() -> None:
    config = json.loads(service_config())
    by_path = {
        f"/{name['service']}/{name['method']}": entry
        for entry in config["methodConfig"]
        for name in entry["name"]
    }
    assert set(by_path) == set(contracts.policies())
    for path, policy in contracts.policies().items():
        entry = by_path[path]
        assert ("retryPolicy" in entry) == policy.retry_safe
        if policy.max_timeout is None:
            assert "timeout" not in entry
        else:
            assert float(entry["timeout"].removesuffix("s")) == policy.max_timeout


def test_the_service_config_retries_on_unavailable_only_and_not_without_end() -> None:
    config = json.loads(service_config())
    retries = [entry["retryPolicy"] for entry in config["methodConfig"] if "retryPolicy" in entry]
    assert retries
    for retry in retries:
        assert retry["retryableStatusCodes"] == ["UNAVAILABLE"]
        assert 1 < retry["maxAttempts"] <= 5, "grpc cuts what is above"
    assert 0 < config["retryThrottling"]["tokenRatio"] <= 0.2


async def test_grpc_accepts_the_service_config() -> None:
    """A config that grpc cannot read makes every call of the channel fail with INTERNAL."""
    code, details = await _code_with(service_config())
    assert code is grpc.StatusCode.UNAVAILABLE, details
    broken = service_config().replace('"UNAVAILABLE"', '"NO_SUCH_CODE"')
    assert broken != service_config()
    code, details = await _code_with(broken)
    assert "ervice config" in details or code is not grpc.StatusCode.UNAVAILABLE


async def _code_with(config: str) -> tuple[grpc.StatusCode, str]:
    options = [("grpc.service_config", config)]
    async with grpc.aio.insecure_channel("127.0.0.1:1", options=options) as channel:
        call = channel.unary_unary("/marquee.user.v1.UserService/CreateUser")(b"", timeout=5)
        return await call.code(), await call.details() or ""
