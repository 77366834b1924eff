"""The mesh's descriptor set, and what the edge needs to know from it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import marquee
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto
from google.rpc import error_details_pb2, status_pb2
from marquee.options.v1 import policy_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """An RPC and the part of its policy that concerns the edge."""

    service: str
    """The full name of the service."""
    name: str
    client_streaming: bool
    server_streaming: bool
    default_timeout: timedelta | None
    """None: a call without a deadline of its own may last."""
    max_timeout: timedelta | None
    """None: a caller's deadline is not cut."""
    may_retry: bool
    """Whether a call that has reached a service may be sent again."""

    @property
    def path(self) -> str:
        """The request path, as gRPC and the JSON form use it."""
        return f"/{self.service}/{self.name}"

    @property
    def streaming(self) -> bool:
        """Whether either side sends a stream."""
        return self.client_streaming or self.server_streaming


def mesh_descriptor_set() -> FileDescriptorSet:
    """Every contract under `marquee`, the error details, and all that they import.

    The files are ordered so that each comes after those it imports.
    """
    roots = [_descriptor_of(module) for module in sorted(_generated_modules())]
    # The transcoder turns the details of an error into JSON only when it knows their types.
    roots += [error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR]
    ordered: dict[str, FileDescriptor] = {}
    for root in roots:
        _add_after_imports(root, ordered)
    descriptor_set = FileDescriptorSet()
    for file in ordered.values():
        file.CopyToProto(descriptor_set.file.add())
    return descriptor_set


def read_descriptor_set(path: Path) -> FileDescriptorSet:
    """Reads a file written by `buf build` or from `mesh_descriptor_set`.

    Raises:
        OSError: The file cannot be read.
        google.protobuf.message.DecodeError: It is not a descriptor set.
    """
    return FileDescriptorSet.FromString(path.read_bytes())


def pool_of(descriptor_set: FileDescriptorSet) -> descriptor_pool.DescriptorPool:
    """A pool of its own for the files of a descriptor set, which must be in import order."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_set.file:
        pool.Add(file)
    return pool


def methods_of(descriptor_set: FileDescriptorSet, package: str) -> list[Method]:
    """The RPCs of a Protobuf package in the order of their declaration."""
    return [
        Method(
            service=f"{package}.{service.name}",
            name=method.name,
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
            default_timeout=_duration(policy, "default_timeout"),
            max_timeout=_duration(policy, "max_timeout"),
            may_retry=policy.retry_class == policy_pb2.RETRY_CLASS_SAFE,
        )
        for file in descriptor_set.file
        if file.package == package
        for service in file.service
        for method in service.method
        for policy in (_policy_of(method),)
    ]


def _policy_of(method: MethodDescriptorProto) -> policy_pb2.Policy:
    policy: object = method.options.Extensions[policy_pb2.policy]  # type: ignore[index]  # the generated stub calls it a descriptor
    assert isinstance(policy, policy_pb2.Policy)
    return policy


def _duration(policy: policy_pb2.Policy, field: str) -> timedelta | None:
    if not policy.HasField(field):
        return None
    value = getattr(policy, field)
    return timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


def _generated_modules() -> Iterator[str]:
    # The generated packages have no __init__.py, so pkgutil would not find them.
    for root in map(Path, marquee.__path__):
        for file in root.rglob("*_pb2.py"):
            yield ".".join(("marquee", *file.relative_to(root).with_suffix("").parts))


def _descriptor_of(module: str) -> FileDescriptor:
    descriptor = importlib.import_module(module).DESCRIPTOR
    assert isinstance(descriptor, FileDescriptor)
    return descriptor


def _add_after_imports(file: FileDescriptor, ordered: dict[str, FileDescriptor]) -> None:
    if file.name in ordered:
        return
    for imported in file.dependencies:
        _add_after_imports(imported, ordered)
    ordered[file.name] = file
