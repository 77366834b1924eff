"""The access matrix: every RPC, everything that may be wrong with a caller, every way in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.table import Table
from support.requests import Rpc, rpcs, sound
from support.requests_json import JsonBody
from support.requests_sending import EDGE, JSON, STRAIGHT, Case, Outcome
from support.requests_subjects import about, takes_many
from support.requests_tokens import StackIssuer
from support.tokens import ALL_SCOPES, BAD_TOKENS

WAYS: Final = (EDGE, JSON, STRAIGHT)
ANY: Final = "subjects.any"

# Nobody of that name exists: what a caller may do must not change the mesh that the tests share.
OWN: Final = "matrix.own"
OTHER: Final = "matrix.other"
# What is not the caller, though a careless comparison might take it for them.
_ALMOST: Final = (OWN.upper(), f"{OWN}.", OWN[:-1], f"{OWN} ", f"{OWN}\0", f"service:{OWN}", "*")

_UNAUTHENTICATED: Final = ("UNAUTHENTICATED", "401")
_DENIED: Final = ("PERMISSION_DENIED", "403")
# What a call answers that nobody refused but that was about nobody, or nothing sensible.
_LET_IN: Final = (
    "OK",
    "200",
    "INVALID_ARGUMENT",
    "400",
    "NOT_FOUND",
    "404",
    "FAILED_PRECONDITION",
    "ABORTED",
    "409",
    "ALREADY_EXISTS",
    "DEADLINE_EXCEEDED",
)
# Begins something long: its good calls are about nothing sensible.
_HEAVY_COST: Final = 100
_STREAM_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request with one token; None: no token."""

    token: str | None
    message: Message
    body: bytes | None = None
    """The encoded request where it is not simply that of the message; then it has no JSON form."""


@dataclass(frozen=True, slots=True)
class Column:
    """Something that may be wrong with a caller, or, without a reason, nothing.

    Attributes:
        group: Columns of one group are shown in one table.
        name: What is wrong.
        attempts: The requests of an RPC's cell; none where it cannot be wrong there.
        code: The right code of gRPC and the right status of the JSON form; empty: to be let in.
        reason: The right reason in ErrorInfo.
        metadata: What ErrorInfo must name, given the RPC.
    """

    group: str
    name: str
    attempts: Callable[[Rpc], Sequence[Attempt]]
    code: tuple[str, ...] = ()
    reason: str = ""
    metadata: Callable[[Rpc], Mapping[str, str]] = lambda _: {}

    def fault_of(self, outcome: Outcome) -> str:
        """What is wrong with an answer in this column; empty when nothing is."""
        got = f"{outcome.code} {outcome.reason}".strip()
        if not self.code:
            return "" if outcome.code in _LET_IN else f"not let in: {got}"
        if outcome.code not in self.code or outcome.reason != self.reason:
            return f"{got} in place of {self.code[0]} {self.reason}"
        if outcome.domain != "marquee":
            return f"ErrorInfo of the domain {outcome.domain!r}"
        wanted = self.metadata(outcome.case.rpc)
        # The edge may leave out what it names, but may not name anything else.
        if (outcome.metadata or outcome.case.way == STRAIGHT) and outcome.metadata != wanted:
            return f"names {dict(outcome.metadata)} in place of {dict(wanted)}"
        return ""


def columns(issuer: StackIssuer) -> list[Column]:
    """Every column, with tokens that are good for the next minutes."""
    return [*_bad_tokens(issuer), *_too_little(issuer), *_controls(issuer)]


def cases(column: Column, rpc: Rpc) -> list[Case]:
    """The requests of one cell."""
    found = []
    for attempt in column.attempts(rpc):
        for way in WAYS:
            if way == JSON and attempt.body is not None:
                continue
            encoded = attempt.message.SerializeToString() if attempt.body is None else attempt.body
            text = json_format.MessageToJson(attempt.message).encode()
            body = JsonBody(column.name, text) if way == JSON else encoded
            deadline = _STREAM_S if rpc.lasts and way != JSON else None
            token = "" if attempt.token is None else attempt.token
            found.append(Case(rpc, column.name, body, way, deadline_s=deadline, token=token))
    return found


def tables(
    all_columns: Sequence[Column], found: Mapping[tuple[str, str], Sequence[Outcome]]
) -> list[Table]:
    """The matrix, readable: a table for each group.

    Args:
        all_columns: The columns.
        found: The outcomes of each cell, by the path of its RPC and the name of its column.
    """
    shown = []
    for group in dict.fromkeys(column.group for column in all_columns):
        own = [column for column in all_columns if column.group == group]
        shown += [_table(group, own[part : part + 6], found) for part in range(0, len(own), 6)]
    return shown


def _table(
    group: str, own: Sequence[Column], found: Mapping[tuple[str, str], Sequence[Outcome]]
) -> Table:
    reasons = "; ".join(f"{column.name}: {column.reason}" for column in own if column.reason)
    title = f"{group}: answers to gRPC at the edge, JSON at the edge, gRPC straight at the service"
    table = Table(title=title, caption=reasons or None, caption_justify="left")
    table.add_column("RPC", no_wrap=True)
    for column in own:
        table.add_column(column.name)
    for rpc in rpcs():
        cells = [_cell(column, found.get((rpc.path, column.name), ())) for column in own]
        table.add_row(rpc.name, *cells)
    return table


def _cell(column: Column, outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return "-"
    parts = []
    for way in WAYS:
        own = [outcome for outcome in outcomes if outcome.case.way == way]
        wrong = [outcome for outcome in own if column.fault_of(outcome)]
        if wrong:
            parts.append(f"WRONG {wrong[0].code} {wrong[0].reason}")
        elif own:
            parts.append(_short(own[0].code))
    return " ".join(parts)


def _short(code: str) -> str:
    return {"UNAUTHENTICATED": "16", "PERMISSION_DENIED": "7"}.get(code, code)


def _bad_tokens(issuer: StackIssuer) -> Iterable[Column]:
    for name in BAD_TOKENS:
        bad = issuer.bad(name)
        yield Column(
            "No token, or a bad one",
            name,
            lambda rpc, token=bad.token: [Attempt(token, _sensible(rpc))],
            _UNAUTHENTICATED,
            bad.reason,
        )


def _too_little(issuer: StackIssuer) -> Iterable[Column]:
    without = {
        scope: issuer.mint("service:matrix", [s for s in ALL_SCOPES if s != scope])
        for scope in ALL_SCOPES
    }
    admin = issuer.mint("service:matrix", ["admin", ANY])
    nothing = issuer.mint(OWN, [])
    own = {scope: issuer.mint(OWN, [scope]) for scope in ALL_SCOPES}
    # Whoever may do everything, but only to themselves.
    mighty = issuer.mint(OWN, [scope for scope in ALL_SCOPES if scope != ANY])

    def scope_of(rpc: Rpc) -> dict[str, str]:
        return {"scope": rpc.policy.scope}

    def field_of(rpc: Rpc) -> dict[str, str]:
        return {"field": rpc.policy.subject_field}

    def tokens_of(rpc: Rpc) -> tuple[str, str]:
        return own[rpc.policy.scope], mighty

    def of_somebody_else(rpc: Rpc) -> list[Attempt]:
        if not rpc.policy.subject_field:
            return []
        people = [about(rpc, [user_id]) for user_id in (OTHER, *_ALMOST)]
        found = [Attempt(token, message) for token in tokens_of(rpc) for message in people]
        if not takes_many(rpc):
            # The last of two counts, wherever the first one may have been looked at.
            twice = b"".join(about(rpc, [name]).SerializeToString() for name in (OWN, OTHER))
            found.append(Attempt(mighty, people[0], twice))
        return found

    def of_one_among_others(rpc: Rpc) -> list[Attempt]:
        if not rpc.policy.subject_field or not takes_many(rpc):
            return []
        rows = ([OWN, OTHER], [OTHER, OWN], [OWN] * 40 + [OTHER] + [OWN] * 40, [OWN, ""])
        return [Attempt(token, about(rpc, ids)) for token in tokens_of(rpc) for ids in rows]

    def of_nobody(rpc: Rpc) -> list[Attempt]:
        if not rpc.policy.subject_field or rpc.policy.subject_optional:
            return []
        rows = [[""], []] if takes_many(rpc) else [[""]]
        return [Attempt(token, about(rpc, ids)) for token in tokens_of(rpc) for ids in rows]

    group = "A good token that is not enough"
    yield Column(
        group,
        "its scope alone is missing",
        lambda rpc: [Attempt(without[rpc.policy.scope], _sensible(rpc))],
        _DENIED,
        "SCOPE_MISSING",
        scope_of,
    )
    yield Column(
        group,
        "no scope at all",
        lambda rpc: [Attempt(nothing, _sensible(rpc))],
        _DENIED,
        "SCOPE_MISSING",
        scope_of,
    )
    yield Column(
        group,
        "admin and nothing else",
        lambda rpc: [] if rpc.policy.scope == "admin" else [Attempt(admin, _sensible(rpc))],
        _DENIED,
        "SCOPE_MISSING",
        scope_of,
    )
    mismatch = (_DENIED, "SUBJECT_MISMATCH", field_of)
    yield Column(group, "another user's id", of_somebody_else, *mismatch)
    yield Column(group, "one foreign row among own ones", of_one_among_others, *mismatch)
    yield Column(group, "nobody's id", of_nobody, *mismatch)


def _controls(issuer: StackIssuer) -> Iterable[Column]:
    group = "Who is let in"
    own = {scope: issuer.mint(OWN, [scope]) for scope in ALL_SCOPES}
    any_subject = {scope: issuer.mint("service:matrix", [scope, ANY]) for scope in ALL_SCOPES}
    yield Column(
        group,
        "a user with the one scope, about themselves",
        lambda rpc: [Attempt(own[rpc.policy.scope], _sensible(rpc))],
    )
    yield Column(
        group,
        "a service with the one scope and subjects.any",
        lambda rpc: [Attempt(any_subject[rpc.policy.scope], _sensible(rpc))],
    )


def _sensible(rpc: Rpc) -> Message:
    """A request about the caller."""
    message = about(rpc, [OWN]) if rpc.policy.subject_field else sound(rpc.input)
    if rpc.policy.cost >= _HEAVY_COST:
        for field in rpc.input.fields:
            if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_DOUBLE):
                setattr(message, field.name, -1)
    return message
