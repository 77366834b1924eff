from __future__ import annotations

from marquee_envoy.descriptors import (
    mesh_descriptor_set,
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
