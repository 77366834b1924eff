"""What can be told of the examples without their toolchains."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("marquee_examples_run", EXAMPLES / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the types of their fields
    spec.loader.exec_module(module)
    return module


def test_a_missing_toolchain_is_said_aloud_and_is_no_failure(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None if tool == "buf" else f"/bin/{tool}")
    monkeypatch.setattr(sys, "argv", ["run.py", "go"])
    assert runner._command_line() == 0
    assert "SKIPPED: the go example needs buf, not found" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["true", "false"])
def test_packages_that_cannot_be_had_are_said_aloud(runner: ModuleType, command: str) -> None:
    example = dataclasses.replace(runner.EXAMPLES["go"], tools=(), reach=(command,))
    lack = runner.missing(example)
    assert lack == (
        "" if command == "true" else "packages that cannot be had from here: false fails"
    )


@pytest.mark.parametrize("name", ["python", "go", "node", "java"])
def test_every_example_can_be_run(runner: ModuleType, name: str) -> None:
    example = runner.EXAMPLES[name]
    assert (EXAMPLES / example.directory).is_dir()
    assert example.run


def test_node_is_locked_to_contents_and_to_no_registry() -> None:
    lock = json.loads((EXAMPLES / "node/package-lock.json").read_text())
    wanted = json.loads((EXAMPLES / "node/package.json").read_text())["dependencies"]
    installed = {path: found for path, found in lock["packages"].items() if path}
    assert installed
    for path, found in installed.items():
        assert "resolved" not in found, path
        assert found["integrity"].startswith("sha512-"), path
    for name, version in wanted.items():
        assert installed[f"node_modules/{name}"]["version"] == version


def test_java_names_exact_versions_and_no_repository() -> None:
    pom = ET.parse(EXAMPLES / "java/pom.xml").getroot()
    names = {element.tag.partition("}")[2] for element in pom.iter()}
    assert not names & {"repositories", "pluginRepositories", "distributionManagement"}
    versions = [element.text or "" for element in pom.iter() if element.tag.endswith("}version")]
    assert versions
    for version in versions:
        assert re.fullmatch(r"[0-9][0-9.]*|\$\{[a-z.]+\.version\}", version)


def test_go_is_locked() -> None:
    required = re.findall(
        r"^\t([^ \t]+\.[^ \t]+) (v\S+)", (EXAMPLES / "go/go.mod").read_text(), re.M
    )
    sums = (EXAMPLES / "go/go.sum").read_text()
    assert required
    for module, version in required:
        assert f"{module} {version} h1:" in sums
