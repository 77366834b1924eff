"""The policy of every RPC, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from marquee.options.v1 import policy_pb2

from mesh import contracts
from mesh.peers import service_config

PROTOS = Path(__file__).resolve().parents[3] / "protos"
READS = ("Get", "BatchGet", "List", "Search", "Recommend", "Similar", "Trending")


def test_every_rpc_has_a_policy() -> None:
    paths = {
        f"/{name}/{method.name}"
        for name, service in contracts.services().items()
        for method in service.methods
    }
    assert set(contracts.policies()) == paths
    assert all(policy.method == path for path, policy in contracts.policies().items())


@pytest.mark.parametrize("policy", contracts.policies().values(), ids=lambda p: p.method)
def test_the_policy_is_sound(policy: contracts.MethodPolicy) -> None:
    if policy.default_timeout is None:
        assert policy.server_streaming, "only a stream may go on for ever"
    else:
        assert policy.default_timeout > 0
    if policy.max_timeout is not None:
        assert policy.max_timeout >= (policy.default_timeout or 0)
    name = policy.method.rpartition("/")[2]
    if name.startswith(READS):
        assert policy.retry_safe, "a read may be repeated"


def test_every_rpc_declares_its_retry_class() -> None:
    for service in contracts.services().values():
        for method in service.methods:
            options: Any = method.GetOptions()
            declared = options.Extensions[policy_pb2.policy].retry_class
            assert declared != policy_pb2.RETRY_CLASS_UNSPECIFIED, method.full_name


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
