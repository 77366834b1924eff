"""What is written says what the policies say, whatever they say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st

from policy_compiler.checks import rules_of
from policy_compiler.compiler import PACKAGE, compile_policies
from policy_compiler.model import Named, RetryClass, Rule
from policy_compiler.outputs.envoy_routes import render_envoy_routes
from policy_compiler.outputs.rules_package import render_rules
from policy_compiler.outputs.service_config import render_service_config
from policy_compiler.reader import read_contracts
from policy_compiler.sources import compile_protos

Compile = Callable[..., FileDescriptorSet]
ROOT = Path(__file__).resolve().parents[3]

BASE = rules_of(read_contracts(compile_protos(ROOT / "protos")))[0]
milliseconds = st.integers(1, 10**9).map(lambda count: timedelta(milliseconds=count))
names = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,20}", fullmatch=True)


@st.composite
def any_rule(draw: st.DrawFn) -> Rule:
    return replace(
        BASE,
        rpc=replace(
            BASE.rpc,
            name=draw(names),
            client_streaming=draw(st.booleans()),
            server_streaming=draw(st.booleans()),
        ),
        scope=draw(names),
        subject_field=draw(st.sampled_from(["", "user_id", "user.id"])),
        subject_optional=draw(st.booleans()),
        default_timeout=draw(st.none() | milliseconds),
        max_timeout=draw(st.none() | milliseconds),
        retry_class=draw(st.sampled_from(RetryClass)),
        cost=draw(st.integers(1, 2**32 - 1)),
    )


rule_lists = st.lists(any_rule(), max_size=4, unique_by=lambda rule: rule.rpc.path)
comments = st.lists(st.builds(Named, names, st.text()), unique_by=lambda named: named.name)


@given(rule_lists, comments)
def test_the_rules_module_says_what_the_rules_say(rules: list[Rule], scopes: list[Named]) -> None:
    module: dict[str, Any] = {}
    exec(render_rules(rules, scopes), module)
    assert list(module["POLICIES"]) == [rule.rpc.path for rule in rules]
    for rule in rules:
        policy = module["POLICIES"][rule.rpc.path]
        assert policy.method == rule.rpc.path
        for field in ("scope", "subject_field", "subject_optional", "retry_safe", "cost"):
            assert getattr(policy, field) == getattr(rule, field)
        assert policy.client_streaming == rule.rpc.client_streaming
        assert policy.server_streaming == rule.rpc.server_streaming
        for field in ("default_timeout", "max_timeout"):
            written: float | None = getattr(policy, field)
            assert (None if written is None else timedelta(seconds=written)) == getattr(rule, field)
    assert module["SCOPES"] == {scope.name: " ".join(scope.comment.split()) for scope in scopes}


@given(rule_lists)
def test_the_service_config_says_what_the_rules_say(rules: list[Rule]) -> None:
    config = json.loads(render_service_config(rules))
    assert len(config["methodConfig"]) == len(rules)
    for rule, entry in zip(rules, config["methodConfig"], strict=True):
        assert entry["name"] == [{"service": rule.rpc.service, "method": rule.rpc.name}]
        assert ("retryPolicy" in entry) == rule.retry_safe
        written = entry.get("timeout")
        assert (None if written is None else duration(written)) == rule.max_timeout


@given(rule_lists)
def test_the_routes_say_what_the_rules_say(rules: list[Rule]) -> None:
    routes = json.loads(render_envoy_routes(rules))["routes"]
    assert len(routes) == len(rules)
    for rule, route in zip(rules, routes, strict=True):
        assert route["path"] == f"/{route['operation']}" == rule.rpc.path
        assert (route["package"], route["service"]) == (rule.rpc.package, rule.rpc.service)
        assert (route["scope"], route["cost"]) == (rule.scope, rule.cost)
        assert route["hash_by_caller"] == (rule.subject_field != "")
        streaming = rule.rpc.client_streaming or rule.rpc.server_streaming
        assert route["streaming"] == streaming
        assert route["idle_timeout"] == ("0s" if streaming else None)
        resend = rule.retry_safe and not rule.rpc.client_streaming
        assert ("unavailable" in route["retry_on"].split(",")) == resend
        longest = duration(route["grpc_timeout_header_max"])
        assert longest == (rule.max_timeout or timedelta())
        written = route["max_stream_duration"]
        assert (None if written is None else duration(written)) == rule.default_timeout


def duration(text: str) -> timedelta:
    assert text.endswith("s")
    return timedelta(seconds=float(text[:-1]))


def test_the_package_needs_the_standard_library_only(tmp_path: Path) -> None:
    for path, text in compile_policies(compile_protos(ROOT / "protos")).items():
        if path.is_relative_to(PACKAGE):
            target = tmp_path / path.relative_to(PACKAGE.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import marquee_policy, json;"
        "json.loads(marquee_policy.service_config_json());"
        "print(len(json.loads(marquee_policy.envoy_routes_json())['routes']),"
        "len(marquee_policy.POLICIES))"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    routes, policies = found.stdout.split()
    assert routes == policies != "0"


def test_the_page_shows_everything_of_an_rpc(compiled: Compile) -> None:
    policy = """
      default_timeout: {nanos: 1000000} max_timeout: {seconds: 90} retry_class: RETRY_CLASS_NEVER
      scope: SCOPE_USERS_WRITE subject_field: "user_id" subject_optional: true cost: 7
      unguarded: {field: "by.user_id" reason: "who asked"}
    """
    page = compile_policies(
        compiled(
            policy,
            rpc="Follow(stream Ask) returns (stream Answer)",
            ask="string user_id = 1; By by = 2;",
            more="message By { string user_id = 1; }",
        )
    )[Path("docs/api.md")]
    assert "## Tests\n\n`test.v1.Tests`. Tests.\n" in page
    assert (
        "- **Follow** (streams both ways): Does it.\n"
        "  `by.user_id` is not compared with the token: who asked\n" in page
    )
    row = "| Follow | `users.write` | `user_id`, optional | 0.001 s, at most 90 s | never | 7 |\n"
    assert row in page


@pytest.mark.parametrize(
    ("rpc", "kind"),
    [
        ("Call(Ask) returns (Answer)", ""),
        ("Call(stream Ask) returns (Answer)", " (client stream)"),
        ("Call(Ask) returns (stream Answer)", " (server stream)"),
    ],
)
def test_the_page_tells_streams(compiled: Compile, rpc: str, kind: str) -> None:
    page = compile_policies(compiled(rpc=rpc))[Path("docs/api.md")]
    assert f"- **Call**{kind}: Does it.\n" in page
    assert "| Call | `users.read` | `user_id` | 2 s, at most 30 s | safe | 1 |\n" in page


def test_the_page_lists_scopes_and_reasons(compiled: Compile) -> None:
    page = compile_policies(compiled())[Path("docs/api.md")]
    assert "| `users.list` | List all users. |\n" in page
    assert "| `SCOPE_MISSING` | PERMISSION_DENIED | The token lacks the scope" in page
    assert "UNSPECIFIED" not in page
