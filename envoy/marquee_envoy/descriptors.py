"""The mesh's descriptor set, which Envoy reads to turn JSON into Protobuf."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import marquee
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2


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
