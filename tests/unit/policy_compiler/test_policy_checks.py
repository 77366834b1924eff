"""Every unsound policy is refused in one line that names its RPC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from policy_compiler.checks import PolicyError, rules_of
from policy_compiler.reader import read_contracts
from policy_compiler.sources import compile_protos

Compile = Callable[..., FileDescriptorSet]

TIMEOUTS = "default_timeout: {seconds: 2} max_timeout: {seconds: 30}"
SAFE, READ, COST = "retry_class: RETRY_CLASS_SAFE", "scope: SCOPE_USERS_READ", "cost: 1"
NEVER, ADMIN = "retry_class: RETRY_CLASS_NEVER", "scope: SCOPE_ADMIN"
USER = 'subject_field: "user_id"'
STREAM = "Follow(Ask) returns (stream Answer)"


def policy(*parts: str) -> str:
    return " ".join(parts)


def problems_of(descriptor_set: FileDescriptorSet) -> list[str]:
    try:
        rules_of(read_contracts(descriptor_set))
    except PolicyError as error:
        return list(error.problems)
    return []


def test_a_sound_policy_passes(compiled: Compile) -> None:
    (rule,) = rules_of(read_contracts(compiled()))
    assert rule.rpc.path == "/test.v1.Tests/Call"
    assert (rule.scope, rule.subject_field, rule.cost) == ("users.read", "user_id", 1)
    assert rule.retry_safe


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "it carries no policy"),
        (policy(TIMEOUTS, SAFE, USER, COST), "scope is not declared"),
        (policy(TIMEOUTS, SAFE, "scope: SCOPE_UNSPECIFIED", USER, COST), "scope is not declared"),
        (
            policy(TIMEOUTS, SAFE, "scope: SCOPE_SUBJECTS_ANY", USER, COST),
            "scope SCOPE_SUBJECTS_ANY widens what other scopes allow and allows no call by itself",
        ),
        (policy(TIMEOUTS, READ, USER, COST), "retry_class is not declared"),
        (policy(TIMEOUTS, SAFE, READ, USER), "cost is not declared"),
        (
            policy("default_timeout: {seconds: 2}", SAFE, READ, USER, COST),
            "max_timeout is not declared; only a stream may do without",
        ),
        (
            policy("max_timeout: {seconds: 5}", SAFE, READ, USER, COST),
            "default_timeout is not declared; only a stream may do without",
        ),
        (
            policy(
                "default_timeout: {seconds: 7} max_timeout: {seconds: 6}", SAFE, READ, USER, COST
            ),
            "default_timeout is longer than max_timeout",
        ),
        (
            policy(
                "default_timeout: {seconds: 1} max_timeout: {seconds: 4}", SAFE, READ, USER, COST
            ),
            "max_timeout is shorter than 5 s, of which some clients would use as few as 3",
        ),
        (
            policy("default_timeout: {} max_timeout: {seconds: 5}", SAFE, READ, USER, COST),
            "default_timeout is not a positive number of whole milliseconds",
        ),
        (
            policy(
                "default_timeout: {seconds: -1} max_timeout: {seconds: 5}", SAFE, READ, USER, COST
            ),
            "default_timeout is not a positive number of whole milliseconds",
        ),
        (
            policy(
                "default_timeout: {nanos: 400} max_timeout: {seconds: 5}", SAFE, READ, USER, COST
            ),
            "default_timeout is not a positive number of whole milliseconds",
        ),
    ],
)
def test_an_unsound_policy_is_refused(compiled: Compile, text: str | None, problem: str) -> None:
    assert problems_of(compiled(text)) == [f"/test.v1.Tests/Call: {problem}"]


def test_a_stream_may_last(compiled: Compile) -> None:
    assert problems_of(compiled(policy(SAFE, READ, USER, COST), rpc=STREAM)) == []
    assert (
        problems_of(
            compiled(policy(SAFE, READ, USER, COST), rpc="Follow(stream Ask) returns (Answer)")
        )
        == []
    )


def test_a_longest_timeout_without_a_default_is_refused_for_streams(compiled: Compile) -> None:
    text = policy("max_timeout: {seconds: 5}", SAFE, READ, USER, COST)
    assert problems_of(compiled(text, rpc=STREAM)) == [
        "/test.v1.Tests/Follow: max_timeout without default_timeout"
        " would not hold for callers without a deadline"
    ]


@pytest.mark.parametrize(
    ("field", "ask", "why"),
    [
        ("nobody", "string name = 1;", "test.v1.Ask has no field 'nobody'"),
        ("who.nobody", "Who who = 1;", "test.v1.Who has no field 'nobody'"),
        ("name.id", "string name = 1;", "name has no fields"),
        ("number", "int64 number = 1;", "number is not a string"),
        ("raw", "bytes raw = 1;", "raw is not a string"),
        ("who", "Who who = 1;", "who is not a string"),
        ("by_name", "map<string, string> by_name = 1;", "by_name is a map"),
        ("by_name.name", "map<string, Who> by_name = 1;", "by_name is a map"),
        ("who..name", "Who who = 1;", "test.v1.Who has no field ''"),
        ("who.name.", "Who who = 1;", "who.name has no fields"),
    ],
)
def test_a_subject_field_that_does_not_resolve(
    compiled: Compile, field: str, ask: str, why: str
) -> None:
    text = policy(TIMEOUTS, SAFE, READ, COST, f'subject_field: "{field}"')
    found = problems_of(compiled(text, ask=ask, more="message Who { string name = 1; }"))
    assert found == [f"/test.v1.Tests/Call: subject_field {field!r} does not resolve: {why}"]


@pytest.mark.parametrize(
    ("field", "ask"),
    [
        ("user_id", "string user_id = 1;"),
        ("user_ids", "repeated string user_ids = 1;"),
        ("user.id", "User user = 1;"),
        ("rows.user_id", "repeated Row rows = 1;"),
        ("rows.near.user_ids", "repeated Row2 rows = 1;"),
        ("user_id", "oneof who { string user_id = 1; string session = 2; }"),
        ("owner.id", "User owner = 1;"),
        ("target_user_id", "string target_user_id = 1;"),
        ("name", "string name = 1;"),
    ],
)
def test_a_subject_field_that_covers_all_user_ids(compiled: Compile, field: str, ask: str) -> None:
    more = (
        "message User { string id = 1; } message Row { string user_id = 1; }"
        " message Row2 { repeated Near near = 1; } message Near { repeated string user_ids = 1; }"
    )
    text = policy(TIMEOUTS, SAFE, READ, COST, f'subject_field: "{field}"')
    assert problems_of(compiled(text, ask=ask, more=more)) == []


@pytest.mark.parametrize(
    ("ask", "path"),
    [
        ("string name = 1; string user_id = 2;", "user_id"),
        ("string name = 1; repeated string user_ids = 2;", "user_ids"),
        ("string name = 1; int64 user_id = 2;", "user_id"),
        ("string name = 1; string from_user_id = 2;", "from_user_id"),
        ("string name = 1; User user = 2;", "user.id"),
        ("string name = 1; Person user = 2;", "user.id"),
        ("string name = 1; repeated User audience = 2;", "audience.id"),
        ("string name = 1; Row row = 2;", "row.user_id"),
        ("string name = 1; Deep deep = 2;", "deep.rows.user_id"),
        ("string name = 1; map<string, Row> rows = 2;", "rows.value.user_id"),
        ("string name = 1; oneof what { Row row = 2; string other = 3; }", "row.user_id"),
        ("string name = 1; repeated Tree tree = 2;", "tree.branches.user_id"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_user_ids_of_the_request_that_no_subject_field_covers(
    compiled: Compile, ask: str, path: str, named: bool
) -> None:
    more = (
        "message User { string id = 1; } message Person { string id = 1; }"
        " message Row { string user_id = 1; } message Deep { repeated Row rows = 1; }"
        " message Tree { repeated Branch branches = 1; }"
        " message Branch { string user_id = 1; }"
    )
    subject = 'subject_field: "name"' if named else ""
    text = policy(TIMEOUTS, SAFE, "scope: SCOPE_ADMIN", COST, subject)
    problem = f"{path} of the request holds user ids that subject_field does not cover"
    assert problems_of(compiled(text, ask=ask, more=more)) == [f"/test.v1.Tests/Call: {problem}"]


def test_user_ids_of_a_type_within_itself(compiled: Compile) -> None:
    found = problems_of(compiled(ask="string user_id = 1; repeated Ask others = 2;"))
    assert found == [
        "/test.v1.Tests/Call: others.user_id of the request holds user ids"
        " that subject_field does not cover"
    ]
    more = "message Node { Node next = 1; string user_id = 2; }"
    text = policy(TIMEOUTS, SAFE, READ, COST, 'subject_field: "node.user_id"')
    found = problems_of(compiled(text, ask="Node node = 1;", more=more))
    assert [line.partition(": ")[2].split()[0] for line in found] == ["node.next.user_id"]


def test_user_ids_of_the_response_of_a_call_about_nobody(compiled: Compile) -> None:
    rpc = "GetDelivery(Ask) returns (Answer)"
    ask, answer = "string delivery_id = 1;", "Delivery delivery = 1;"
    more = "message Delivery { string user_id = 1; }"
    problem = (
        "/test.v1.Tests/GetDelivery: delivery.user_id of the response holds user ids,"
        " and no subject_field says whose"
    )

    def found(text: str) -> list[str]:
        return problems_of(compiled(text, rpc=rpc, ask=ask, answer=answer, more=more))

    assert found(policy(TIMEOUTS, SAFE, READ, COST)) == [problem]
    assert found(policy(TIMEOUTS, SAFE, "scope: SCOPE_USERS_LIST", COST)) == []
    assert found(policy(TIMEOUTS, SAFE, ADMIN, COST)) == []
    excuse = 'unguarded: {field: "delivery.user_id" reason: "the handler compares it"}'
    assert found(policy(TIMEOUTS, SAFE, READ, COST, excuse)) == []


@pytest.mark.parametrize(
    ("excuse", "problem"),
    [
        ('unguarded: {field: "by.user_id" reason: "who asked, not whose data"}', None),
        ('unguarded: {field: "by.user_id"}', "unguarded 'by.user_id' gives no reason"),
        ('unguarded: {field: "by.user_id" reason: " "}', "unguarded 'by.user_id' gives no reason"),
        (
            'unguarded: [{field: "by.user_id" reason: "r"}, {field: "by.name" reason: "r"}]',
            "unguarded 'by.name' excuses nothing",
        ),
        (
            'unguarded: [{field: "by.user_id" reason: "r"}, {field: "user_id" reason: "r"}]',
            "unguarded 'user_id' excuses nothing",
        ),
    ],
)
def test_an_exemption_needs_a_field_and_a_reason(
    compiled: Compile, excuse: str, problem: str | None
) -> None:
    found = problems_of(
        compiled(
            policy(TIMEOUTS, SAFE, READ, COST, USER, excuse),
            ask="string user_id = 1; By by = 2;",
            more="message By { string user_id = 1; string name = 2; }",
        )
    )
    assert found == ([f"/test.v1.Tests/Call: {problem}"] if problem else [])


def test_an_optional_subject_needs_a_field(compiled: Compile) -> None:
    text = policy(TIMEOUTS, SAFE, READ, COST, "subject_optional: true")
    found = problems_of(
        compiled(text, rpc="GetThing(Ask) returns (Answer)", ask="string name = 1;")
    )
    assert found == ["/test.v1.Tests/GetThing: subject_optional without subject_field"]


@pytest.mark.parametrize(
    "name",
    [
        "GetUser",
        "Get",
        "BatchGetUsers",
        "ListThings",
        "SearchThings",
        "Recommend",
        "ExportUserData",
    ],
)
def test_a_read_must_be_safe_to_repeat(compiled: Compile, name: str) -> None:
    found = problems_of(
        compiled(policy(TIMEOUTS, NEVER, READ, COST, USER), rpc=f"{name}(Ask) returns (Answer)")
    )
    assert found == [
        f"/test.v1.Tests/{name}: it is a read by its name, so retry_class must be RETRY_CLASS_SAFE"
    ]


@pytest.mark.parametrize("name", ["GetawayCar", "Listen", "Create", "MarkRead"])
def test_what_only_begins_like_a_read_is_none(compiled: Compile, name: str) -> None:
    text = policy(TIMEOUTS, NEVER, READ, COST, USER)
    assert problems_of(compiled(text, rpc=f"{name}(Ask) returns (Answer)")) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "TrainModel",
            "it is no read by its name and names no subject, so scope must be SCOPE_ADMIN",
        ),
        ("ListDeadLetters", "it shows or changes dead letters, so scope must be SCOPE_ADMIN"),
        ("ReplayDeadLetters", "it shows or changes dead letters, so scope must be SCOPE_ADMIN"),
    ],
)
def test_what_belongs_to_nobody_is_changed_by_admins(
    compiled: Compile, name: str, problem: str
) -> None:
    rpc, ask = f"{name}(Ask) returns (Answer)", "string version = 1;"
    assert problems_of(compiled(policy(TIMEOUTS, SAFE, READ, COST), rpc=rpc, ask=ask)) == [
        f"/test.v1.Tests/{name}: {problem}"
    ]
    assert problems_of(compiled(policy(TIMEOUTS, SAFE, ADMIN, COST), rpc=rpc, ask=ask)) == []


def test_all_problems_are_told_at_once_a_line_each(compiled: Compile) -> None:
    more = "service More { rpc First(Ask) returns (Answer) {} rpc Second(Ask) returns (Answer) {} }"
    found = problems_of(compiled("", more=more))
    assert [line.split(": ")[0] for line in found] == [
        *["/test.v1.Tests/Call"] * 6,
        "/test.v1.More/First",
        "/test.v1.More/Second",
    ]
    assert not any("\n" in line for line in found)


def test_enum_values_of_a_newer_contract_are_not_taken_for_declared(compiled: Compile) -> None:
    descriptor_set = compiled()
    (test,) = (file for file in descriptor_set.file if file.name == "test.proto")
    options = test.service[0].method[0].options
    # Written by hand, appended to the bytes of the option: policy {scope: 99, retry_class: 98}.
    options.MergeFromString(b"\xca\xda\x18\x04\x20\x63\x18\x62")
    assert problems_of(descriptor_set) == [
        "/test.v1.Tests/Call: scope is not declared",
        "/test.v1.Tests/Call: retry_class is not declared",
    ]


def test_contracts_that_do_not_know_the_option_have_no_policies(protos: Path) -> None:
    (protos / "marquee/options/v1/policy.proto").unlink()
    (protos / "test.proto").write_text(
        'syntax = "proto3"; package test.v1; message M {} service S { rpc Call(M) returns (M) {} }'
    )
    assert problems_of(compile_protos(protos)) == ["/test.v1.S/Call: it carries no policy"]


def test_contracts_without_an_rpc_are_refused(protos: Path) -> None:
    assert problems_of(compile_protos(protos)) == ["there is no RPC in the contracts"]


def test_a_reason_says_with_which_code_it_comes(compiled: Compile, protos: Path) -> None:
    reasons = protos / "marquee/options/v1/reason.proto"
    text = reasons.read_text()
    assert "// UNAUTHENTICATED: The call carries no token." in text
    reasons.write_text(text.replace("// UNAUTHENTICATED: The call carries", "// The call carries"))
    assert problems_of(compiled()) == [
        "Reason TOKEN_MISSING: its comment does not begin with the code of a status and a colon"
    ]


def test_what_protoc_refuses_is_an_error(protos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (protos / "broken.proto").write_text("syntax = 'proto3'; message {")
    with pytest.raises(ValueError, match="protoc refused the contracts"):
        compile_protos(protos)
    assert "broken.proto" in capfd.readouterr().err
    with pytest.raises(ValueError, match="there are no contracts"):
        compile_protos(protos / "marquee/nothing")
