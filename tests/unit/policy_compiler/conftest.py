"""Small contracts, compiled by protoc beside the real options."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from policy_compiler.sources import compile_protos

ROOT = Path(__file__).resolve().parents[3]

SOUND = """
  default_timeout: {seconds: 2}
  max_timeout: {seconds: 30}
  retry_class: RETRY_CLASS_SAFE
  scope: SCOPE_USERS_READ
  subject_field: "user_id"
  cost: 1
"""
"""A policy with nothing to object to, for a request with a user_id."""


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    """A folder of contracts that holds the options only."""
    folder = tmp_path / "protos"
    shutil.copytree(ROOT / "protos/marquee/options", folder / "marquee/options")
    return folder


@pytest.fixture
def compiled(protos: Path) -> Callable[..., FileDescriptorSet]:
    """Compiles a service with one RPC, `Call(Ask) returns (Answer)` unless told otherwise."""

    def compile_one(
        policy: str | None = SOUND,
        *,
        rpc: str = "Call(Ask) returns (Answer)",
        ask: str = "string user_id = 1;",
        answer: str = "",
        more: str = "",
    ) -> FileDescriptorSet:
        option = "" if policy is None else f"option (marquee.options.v1.policy) = {{{policy}}};"
        (protos / "test.proto").write_text(
            'syntax = "proto3";\npackage test.v1;\n'
            'import "marquee/options/v1/policy.proto";\n'
            f"// Tests.\nservice Tests {{\n  // Does it.\n  rpc {rpc} {{ {option} }}\n}}\n"
            f"message Ask {{ {ask} }}\nmessage Answer {{ {answer} }}\n{more}\n"
        )
        return compile_protos(protos)

    return compile_one
