from __future__ import annotations

from datetime import timedelta

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from marquee.options.v1 import policy_pb2
from marquee_envoy.descriptors import (
    mesh_descriptor_set,
    methods_of,
    pool_of,
    read_descriptor_set,
)


def test_every_file_comes_after_its_imports():
    seen: set[str] = set()
    for file in mesh_descriptor_set().file:
        assert seen.issuperset(file.dependency), file.name
        assert file.name not in seen
        seen.add(file.name)


def test_it_holds_the_services_and_the_details_of_errors():
    pool = pool_of(mesh_descriptor_set())

    assert pool.FindServiceByName("marquee.user.v1.UserService")
    assert pool.FindServiceByName("marquee.notify.v1.NotificationService")
    for detail in ("BadRequest", "ErrorInfo", "RetryInfo", "ResourceInfo"):
        assert pool.FindMessageTypeByName(f"google.rpc.{detail}")


def test_it_is_the_same_every_time_and_survives_a_file(tmp_path):
    path = tmp_path / "set.binpb"
    path.write_bytes(mesh_descriptor_set().SerializeToString(deterministic=True))

    assert read_descriptor_set(path) == mesh_descriptor_set()


def test_policies_are_read_from_the_options():
    contracts = FileDescriptorSet()
    file = contracts.file.add(name="x.proto", package="x.v1")
    service = file.service.add(name="Things")
    plain = service.method.add(name="Plain")
    watch = service.method.add(name="Watch", server_streaming=True)
    policy = watch.options.Extensions[policy_pb2.policy]
    policy.default_timeout.FromTimedelta(timedelta(milliseconds=1500))
    policy.retry_class = policy_pb2.RETRY_CLASS_SAFE
    contracts.file.add(name="y.proto", package="y.v1").service.add(name="Other").method.add(
        name="No"
    )

    first, second = methods_of(contracts, "x.v1")

    assert (first.path, first.streaming) == ("/x.v1.Things/Plain", False)
    assert (first.default_timeout, first.max_timeout, first.may_retry) == (None, None, False)
    assert (second.path, second.streaming) == ("/x.v1.Things/Watch", True)
    assert second.default_timeout == timedelta(seconds=1.5)
    assert second.may_retry
    assert plain.name == first.name
