"""What a policy must be before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from policy_compiler.fields import path_problem, user_id_paths
from policy_compiler.model import ADMIN, SUBJECTS_ANY, Contracts, Policy, RetryClass, Rpc, Rule

_READ = re.compile(
    r"(BatchGet|BatchRecommend|Check|Count|Export|Get|List|Recommend|Search|Similar|Subscribe"
    r"|Trending|Watch)(?=[A-Z]|$)"
)
_LEAST_LIMIT = timedelta(seconds=5)
"""Clients on gRPC's C core end a call up to two seconds before a service config's timeout (grpc
#34547): a shorter limit would leave them little or nothing."""
_OF_EVERYBODY = ("users.list", ADMIN)
"""Scopes for calls that answer with the data of people whom they were not asked about."""

_CODES = frozenset(
    {
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    }
)
"""The names of google.rpc.Code that a failed call can have."""


class PolicyError(ValueError):
    """The contracts cannot be compiled.

    Attributes:
        problems: One line each, which begins with what is wrong, nearly always the path of an RPC.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def rules_of(contracts: Contracts) -> tuple[Rule, ...]:
    """Checks the policy of every RPC.

    Returns:
        One rule per RPC, in the order of the contracts.

    Raises:
        PolicyError: Some policy is missing or unsound; all problems of all RPCs are in it.
    """
    rules, problems = [], []
    for service in contracts.services:
        for rpc in service.rpcs:
            found = list(_problems(rpc))
            problems += [f"{rpc.path}: {problem}" for problem in found]
            if not found:
                rules.append(_rule(rpc))
    if not rules and not problems:
        problems.append("there is no RPC in the contracts")
    problems += [
        f"Reason {reason.name}: its comment does not begin with the code of a status and a colon"
        for reason in contracts.reasons
        if reason.comment.partition(":")[0] not in _CODES
    ]
    if problems:
        raise PolicyError(problems)
    return tuple(rules)


def is_read(rpc: Rpc) -> bool:
    """Whether an RPC, by its name, changes nothing."""
    return _READ.match(rpc.name) is not None


def _rule(rpc: Rpc) -> Rule:
    policy = rpc.policy
    assert policy is not None
    assert policy.scope is not None
    assert policy.retry_class is not None
    return Rule(
        rpc=rpc,
        scope=policy.scope,
        subject_field=policy.subject_field,
        subject_optional=policy.subject_optional,
        default_timeout=policy.default_timeout,
        max_timeout=policy.max_timeout,
        retry_class=policy.retry_class,
        cost=policy.cost,
        unguarded=policy.unguarded,
    )


def _problems(rpc: Rpc) -> Iterator[str]:
    policy = rpc.policy
    if policy is None:
        yield "it carries no policy"
        return
    yield from _scope_problems(rpc, policy)
    yield from _timeout_problems(rpc, policy)
    yield from _subject_problems(rpc, policy)
    if policy.retry_class is None:
        yield "retry_class is not declared"
    elif policy.retry_class is RetryClass.NEVER and is_read(rpc):
        yield "it is a read by its name, so retry_class must be RETRY_CLASS_SAFE"
    if not policy.cost:
        yield "cost is not declared"


def _scope_problems(rpc: Rpc, policy: Policy) -> Iterator[str]:
    if policy.scope is None:
        yield "scope is not declared"
    elif policy.scope == SUBJECTS_ANY:
        yield "scope SCOPE_SUBJECTS_ANY widens what other scopes allow and allows no call by itself"
    elif policy.scope != ADMIN:
        if "DeadLetter" in rpc.name:
            yield "it shows or changes dead letters, so scope must be SCOPE_ADMIN"
        elif not policy.subject_field and not is_read(rpc):
            yield "it is no read by its name and names no subject, so scope must be SCOPE_ADMIN"


def _timeout_problems(rpc: Rpc, policy: Policy) -> Iterator[str]:
    default, longest = policy.default_timeout, policy.max_timeout
    for name, timeout in (("default_timeout", default), ("max_timeout", longest)):
        if timeout is None:
            if not rpc.streaming:
                yield f"{name} is not declared; only a stream may do without"
        elif timeout <= timedelta() or timeout % timedelta(milliseconds=1):
            yield f"{name} is not a positive number of whole milliseconds"
    if longest is not None and timedelta() < longest < _LEAST_LIMIT:
        yield "max_timeout is shorter than 5 s, of which some clients would use as few as 3"
    if longest is not None and rpc.streaming and default is None:
        yield "max_timeout without default_timeout would not hold for callers without a deadline"
    if default is not None and longest is not None and default > longest:
        yield "default_timeout is longer than max_timeout"


def _subject_problems(rpc: Rpc, policy: Policy) -> Iterator[str]:
    if policy.subject_optional and not policy.subject_field:
        yield "subject_optional without subject_field"
    if policy.subject_field and (problem := path_problem(rpc.request, policy.subject_field)):
        yield f"subject_field {policy.subject_field!r} does not resolve: {problem}"

    asked, answered = list(user_id_paths(rpc.request)), []
    if not policy.subject_field and policy.scope not in _OF_EVERYBODY:
        answered = list(user_id_paths(rpc.response))
    excused = {entry.name for entry in policy.unguarded}
    for path in asked:
        if path != policy.subject_field and path not in excused:
            yield f"{path} of the request holds user ids that subject_field does not cover"
    for path in answered:
        if path not in excused:
            yield f"{path} of the response holds user ids, and no subject_field says whose"
    for entry in policy.unguarded:
        if entry.name not in (*asked, *answered) or entry.name == policy.subject_field:
            yield f"unguarded {entry.name!r} excuses nothing"
        elif not entry.comment.strip():
            yield f"unguarded {entry.name!r} gives no reason"
