"""Contracts as text to a descriptor set with their comments."""

from __future__ import annotations

import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet


def compile_protos(root: Path) -> FileDescriptorSet:
    """Compiles every proto file below a folder, with imports and comments, in import order.

    Needs grpcio-tools; nothing else in this package does.

    Raises:
        ValueError: There is none, or protoc refused them; it has printed why.
    """
    import grpc_tools  # noqa: PLC0415 - only who compiles needs it
    from grpc_tools import protoc  # noqa: PLC0415 - as above

    sources = sorted(str(path.relative_to(root)) for path in root.rglob("*.proto"))
    if not sources:
        raise ValueError(f"there are no contracts in {root}")
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "contracts.binpb"
        status = protoc.main(
            [
                "protoc",
                f"-I{root}",
                f"-I{well_known}",
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={out}",
                *sources,
            ]
        )
        if status:
            raise ValueError(f"protoc refused the contracts in {root}")
        return FileDescriptorSet.FromString(out.read_bytes())
