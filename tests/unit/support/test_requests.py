"""The checks of the whole mesh can fail: what they judge by is judged here."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from support import requests_raw as raw
from support import requests_wire as wire
from support.requests import Rpc, rpcs, sound
from support.requests_access import Column
from support.requests_json import JsonBody
from support.requests_sending import BOUND_S, EDGE, JSON, STRAIGHT, Case, Outcome
from support.requests_subjects import about, takes_many
from support.requests_values import draw_many, odd_requests


def rpc(name: str) -> Rpc:
    return next(found for found in rpcs() if found.path.endswith(f"/{name}"))


def outcome(code: str, **values: object) -> Outcome:
    usual: dict[str, object] = {
        "case": Case(rpc("GetUser"), "odd", b"\x0a", EDGE),
        "reason": "INVALID_FIELD",
        "domain": "marquee",
        "metadata": {},
        "violations": 1,
        "message": "",
        "seconds": 0.1,
    }
    return Outcome(code=code, **(usual | values))


JSON_CASE = Case(rpc("GetUser"), "odd", JsonBody("odd", b"{}"), JSON)
HASTY = Case(rpc("GetUser"), "odd", b"", EDGE, deadline_s=0.01)


@pytest.mark.parametrize(
    "found",
    [
        outcome("OK"),
        outcome("INVALID_ARGUMENT"),
        outcome("NOT_FOUND", violations=0),
        outcome("DEADLINE_EXCEEDED", case=HASTY, reason=""),
        outcome("RESOURCE_EXHAUSTED", reason="", message="message larger than max (2 vs. 1)"),
        outcome("200", case=JSON_CASE, reason=""),
        outcome("400", case=JSON_CASE),
        outcome("404", case=JSON_CASE, violations=0, reason="USER_NOT_FOUND"),
    ],
    ids=lambda found: found.code,
)
def test_proper_answers(found: Outcome) -> None:
    assert not found.problem


@pytest.mark.parametrize(
    "found",
    [
        outcome("INTERNAL"),
        outcome("UNKNOWN"),
        outcome("UNAVAILABLE"),
        outcome("DEADLINE_EXCEEDED"),
        outcome("CANCELLED"),
        outcome("OK", seconds=BOUND_S + 1),
        outcome("INVALID_ARGUMENT", violations=0),
        outcome("NOT_FOUND", reason=""),
        outcome("NOT_FOUND", domain="elsewhere"),
        outcome("RESOURCE_EXHAUSTED", reason=""),
        outcome("500", case=JSON_CASE),
        outcome("503", case=JSON_CASE),
        outcome("504", case=JSON_CASE),
        outcome("400", case=JSON_CASE, violations=0),
        outcome("404", case=JSON_CASE, reason=""),
    ],
    ids=lambda found: found.code,
)
def test_answers_that_are_not_proper(found: Outcome) -> None:
    assert found.problem


def test_a_cell_wants_the_code_the_reason_and_what_is_named() -> None:
    column = Column(
        "group",
        "its scope is missing",
        lambda _: [],
        ("PERMISSION_DENIED", "403"),
        "SCOPE_MISSING",
        lambda _: {"scope": "users.read"},
    )
    good = outcome(
        "PERMISSION_DENIED",
        reason="SCOPE_MISSING",
        metadata={"scope": "users.read"},
        case=replace(HASTY, way=STRAIGHT),
    )
    assert not column.fault_of(good)
    for changes in (
        {"code": "OK"},
        {"code": "UNAUTHENTICATED"},
        {"reason": "SUBJECT_MISMATCH"},
        {"domain": ""},
        {"metadata": {}},
        {"metadata": {"scope": "admin"}},
    ):
        assert column.fault_of(replace(good, **changes)), changes


def test_who_is_to_be_let_in_may_not_be_refused() -> None:
    column = Column("group", "the right one", lambda _: [])
    assert not column.fault_of(outcome("NOT_FOUND"))
    for code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403", "INTERNAL", "UNAVAILABLE"):
        assert column.fault_of(outcome(code)), code


def test_odd_calls_may_not_break_the_service() -> None:
    odd, get_user = raw.Oddity("odd"), rpc("GetUser")
    for answer in (
        raw.Answer(raw.SILENT),
        raw.Answer("200", "13", "internal error"),
        raw.Answer("200", "14"),
        raw.Answer("503"),
    ):
        assert raw.problem(answer, odd, get_user), answer
    refused = raw.Answer("200", "3", reason="INVALID_FIELD")
    assert not raw.problem(refused, odd, get_user)
    assert raw.problem(refused, raw.Oddity("in order"), get_user)


def test_the_corpus_is_the_same_in_every_run() -> None:
    def make() -> tuple[list[bytes], list[tuple[str, bytes]]]:
        # A text that may not come twice would differ.
        strategy = odd_requests(rpc("GetUser").input, ["token"], {})
        typed = draw_many(strategy, 20, "a name")
        return typed, wire.mutants(typed, 40, random.Random(1))

    assert make() == make()


@pytest.mark.parametrize("found", rpcs(), ids=lambda found: found.name)
def test_requests_in_order_can_be_made_of_every_rpc(found: Rpc) -> None:
    assert found.input.full_name == sound(found.input).DESCRIPTOR.full_name
    if found.policy.subject_field:
        people = ["a", "b"] if takes_many(found) else ["a"]
        encoded = about(found, people).SerializeToString()
        assert all(name.encode() in encoded for name in people)


def test_a_large_message_has_exactly_its_size() -> None:
    for size in (8 << 20, (8 << 20) + 1, 32 << 20):
        assert len(wire.large(rpc("CreateUser").input, size)) == size
