"""Whatever is no longer what follows from the contracts is found, and told by its name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from policy_compiler.__main__ import main
from policy_compiler.compiler import PACKAGE, compile_policies, write
from policy_compiler.sources import compile_protos

ROOT = Path(__file__).resolve().parents[3]
FILES = compile_policies(compile_protos(ROOT / "protos"))
OUTPUTS = sorted(FILES)
COMMAND = "Run `python -m policy_compiler` and commit what it writes."
GET_USER = "  rpc GetUser(GetUserRequest) returns (GetUserResponse) {\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The contracts and what follows from them, to be spoiled."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    assert write(FILES, tmp_path) == list(FILES)
    return tmp_path


def drift_of(root: Path) -> list[str]:
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(root), "--check"])
    assert isinstance(caught.value.code, str)
    *lines, command = caught.value.code.splitlines()
    assert command == COMMAND
    return lines


def change_contract(root: Path, before: str, after: str) -> None:
    file = root / "protos/marquee/user/v1/user_service.proto"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_what_is_committed_follows_from_the_contracts() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "policy_compiler", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("path", OUTPUTS, ids=str)
def test_a_file_that_was_edited_is_found_and_mended(copy: Path, path: Path) -> None:
    target = copy / path
    original = target.read_bytes()
    target.write_bytes(original + b"\n")
    assert drift_of(copy) == [f"out of date: {path}"]
    main(["--root", str(copy)])
    assert target.read_bytes() == original


@pytest.mark.parametrize("path", OUTPUTS, ids=str)
def test_a_file_that_is_missing_is_found_and_mended(copy: Path, path: Path) -> None:
    (copy / path).unlink()
    assert drift_of(copy) == [f"missing: {path}"]
    main(["--root", str(copy)])
    assert (copy / path).read_text() == FILES[path]


def test_a_file_that_nothing_asks_for_is_found_and_removed(copy: Path) -> None:
    extra = copy / PACKAGE / "extra.py"
    extra.write_text("")
    assert drift_of(copy) == [f"left over: {PACKAGE}/extra.py"]
    main(["--root", str(copy)])
    assert not extra.exists()


RULES, ROUTES, CONFIG, PAGE = (
    f"{PACKAGE}/rules.py",
    f"{PACKAGE}/envoy_routes.json",
    f"{PACKAGE}/service_config.json",
    "docs/api.md",
)


@pytest.mark.parametrize(
    ("before", "after", "outdated"),
    [
        ("default_timeout: {seconds: 5}", "default_timeout: {seconds: 6}", {RULES, ROUTES, PAGE}),
        ("max_timeout: {seconds: 30}", "max_timeout: {seconds: 31}", {RULES, ROUTES, CONFIG, PAGE}),
        ("RETRY_CLASS_NEVER", "RETRY_CLASS_SAFE", {RULES, ROUTES, CONFIG, PAGE}),
        ("SCOPE_USERS_READ", "SCOPE_USERS_WRITE", {RULES, ROUTES, PAGE}),
        ("cost: 1\n", "cost: 2\n", {RULES, ROUTES, PAGE}),
        (
            'subject_field: "user_id"',
            'subject_field: "user_id" subject_optional: true',
            {RULES, PAGE},
        ),
        ("// Returns one user.", "// Gives one user.", {PAGE}),
        ("  string user_id = 1;", "  string user_id = 2;", set()),
    ],
)
def test_a_contract_that_was_changed_outdates_what_follows(
    copy: Path, before: str, after: str, outdated: set[str]
) -> None:
    change_contract(copy, before, after)
    if outdated:
        assert set(drift_of(copy)) == {f"out of date: {path}" for path in outdated}
    main(["--root", str(copy)])
    main(["--root", str(copy), "--check"])


def test_a_new_rpc_outdates_everything(copy: Path) -> None:
    change_contract(
        copy,
        GET_USER,
        GET_USER.replace("GetUser(", "GetSomeone(")
        + "option (marquee.options.v1.policy) = {default_timeout: {seconds: 1}"
        " max_timeout: {seconds: 9} retry_class: RETRY_CLASS_SAFE scope: SCOPE_USERS_READ"
        ' subject_field: "user_id" cost: 1};}\n' + GET_USER,
    )
    assert set(drift_of(copy)) == {f"out of date: {p}" for p in (RULES, ROUTES, CONFIG, PAGE)}
    main(["--root", str(copy)])
    assert '"/marquee.user.v1.UserService/GetSomeone"' in (copy / RULES).read_text()


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_an_rpc_without_a_policy_fails_and_nothing_is_written(
    copy: Path, arguments: list[str]
) -> None:
    before = {path: (copy / path).read_bytes() for path in OUTPUTS}
    change_contract(
        copy, GET_USER, GET_USER.replace("GetUser(", "Forgotten(").replace("{", "{}") + GET_USER
    )
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(copy), *arguments])
    assert caught.value.code == "/marquee.user.v1.UserService/Forgotten: it carries no policy"
    assert {path: (copy / path).read_bytes() for path in OUTPUTS} == before


def test_writing_twice_writes_once(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    main(["--root", str(copy)])
    assert capsys.readouterr().out == "nothing has changed\n"
