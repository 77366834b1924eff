"""From a descriptor set to files, and the comparison of files with what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from policy_compiler.checks import rules_of
from policy_compiler.outputs.api_page import render_api_page
from policy_compiler.outputs.envoy_routes import render_envoy_routes
from policy_compiler.outputs.rules_package import render_init, render_method_policy, render_rules
from policy_compiler.outputs.service_config import render_service_config
from policy_compiler.reader import read_contracts

PACKAGE = Path("gen/marquee_policy")
"""The folder of the generated package; nothing else may be in it."""


def compile_policies(descriptor_set: FileDescriptorSet) -> Mapping[Path, str]:
    """Returns every file that follows from the contracts, by its path in the repository.

    Raises:
        PolicyError: Some RPC has no policy or an unsound one.
    """
    contracts = read_contracts(descriptor_set)
    rules = rules_of(contracts)
    return {
        PACKAGE / "__init__.py": render_init(),
        PACKAGE / "method_policy.py": render_method_policy(),
        PACKAGE / "rules.py": render_rules(rules, contracts.scopes),
        PACKAGE / "py.typed": "",
        PACKAGE / "service_config.json": render_service_config(rules),
        PACKAGE / "envoy_routes.json": render_envoy_routes(rules),
        Path("docs/api.md"): render_api_page(contracts, rules),
    }


def write(files: Mapping[Path, str], root: Path) -> list[Path]:
    """Writes what differs and removes what is left over, below `root`.

    Returns:
        The paths that changed, in the repository.
    """
    changed = []
    for path, text in files.items():
        target = root / path
        if not target.is_file() or target.read_bytes() != text.encode():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())
            changed.append(path)
    for path in _left_over(files, root):
        (root / path).unlink()
        changed.append(path)
    return changed


def drift(files: Mapping[Path, str], root: Path) -> list[str]:
    """Returns how the files below `root` differ from what they should be, a line each."""
    found = []
    for path, text in files.items():
        target = root / path
        if not target.is_file():
            found.append(f"missing: {path}")
        elif target.read_bytes() != text.encode():
            found.append(f"out of date: {path}")
    return found + [f"left over: {path}" for path in _left_over(files, root)]


def _left_over(files: Mapping[Path, str], root: Path) -> list[Path]:
    return sorted(
        path.relative_to(root)
        for path in (root / PACKAGE).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.relative_to(root) not in files
    )
