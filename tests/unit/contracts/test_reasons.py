"""Every reason that an error is given is one that the contracts declare."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from marquee.options.v1 import reason_pb2
from marquee_envoy.local_replies import LOCAL_REPLIES

ROOT = Path(__file__).resolve().parents[3]
DECLARED = {name.removeprefix("REASON_") for name, number in reason_pb2.Reason.items() if number}
HELP = "declare it in protos/marquee/options/v1/reason.proto and run `tox run -e gen`"

WITH_REASON = {
    "Aborted",
    "ErrorInfo",
    "FailedPrecondition",
    "MeshError",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
}


def given_by(call: ast.Call) -> Iterator[str]:
    """Yields the reason that an error gets where it is made, as far as it is written there."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    words = [
        argument.value.upper()
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    keywords = {
        keyword.arg: keyword.value.value
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant)
    }
    if name in WITH_REASON and call.args and words:
        yield words[0]
    if name in WITH_REASON and isinstance(keywords.get("reason"), str):
        yield str(keywords["reason"])
    if name == "NotFound" and words:
        yield f"{words[0]}_NOT_FOUND"
    if name == "AlreadyExists" and len(words) == 2:
        yield f"{words[0]}_{words[1]}_TAKEN"


def reasons_in(package: str) -> dict[str, Path]:
    return {
        reason: path.relative_to(ROOT)
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for reason in given_by(node)
    }


@pytest.mark.parametrize("package", ["mesh", "user_svc", "reco_svc", "notify_svc"])
def test_the_reasons_of_a_package_are_declared(package: str) -> None:
    found = reasons_in(package)
    assert found, "the search finds nothing any more"
    unknown = {reason: str(path) for reason, path in found.items() if reason not in DECLARED}
    assert not unknown, HELP


EDGE = re.compile(
    r"""\breason["']?\s*[:=]\s*["']?([A-Z]+(?:_[A-Z]+)*)\b"""  # in YAML, JSON and Python
    r"""|\brefuse\(handle, "\d+", \d+, "([A-Z_]+)\""""  # in Lua
)


def test_the_reasons_of_the_edge_are_declared() -> None:
    found = {
        reason
        for path in (ROOT / "envoy").rglob("*")
        if path.suffix in (".py", ".j2", ".lua")
        for match in EDGE.findall(path.read_text())
        for reason in match
        if reason
    }
    assert found >= {"INVALID_FIELD", "NO_SUCH_METHOD"}, "the search finds nothing any more"
    assert found | {reply.reason for reply in LOCAL_REPLIES} <= DECLARED, HELP


def test_the_search_finds_every_way_to_give_a_reason() -> None:
    source = """
Unavailable("A_B", "text")
errors.Aborted("C_D", "text")
MeshError(reason="E_F", message="text")
NotFound("movie", movie_id)
AlreadyExists("user", "email")
Unavailable(reason_of(x), "text")
"""
    found = [
        reason
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for reason in given_by(node)
    ]
    assert found[:5] == ["A_B", "C_D", "E_F", "MOVIE_NOT_FOUND", "USER_EMAIL_TAKEN"]
