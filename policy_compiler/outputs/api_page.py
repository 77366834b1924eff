"""`docs/api.md`: the RPCs, their rules, the scopes and the reasons of errors, to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from policy_compiler.model import Contracts, Named, Rpc, Rule, Service

_INTRODUCTION: Final = """\
<!-- Generated from the contracts by `python -m policy_compiler`; do not edit. -->

# API

The contracts are in [protos/](../protos); messages and their fields are described there. This page
lists what one must know of each RPC beyond its types, all of it from the RPC's `policy` option.

- **Scope**: what the caller's token must carry. See [Scopes](#scopes).
- **Subject**: the field of the request with the ids of the people whose data the call touches. They
  must be the token's `sub`, unless the token also carries `subjects.any`. *Optional*: the field may
  be left empty, and then nobody's data is touched. Empty: the call touches no single person's data.
- **Timeout**: how long a call may take when its caller sets no deadline, and the longest deadline
  that a caller may set; a longer one is cut.
- **Retry**: *safe* calls may be sent again when they failed with UNAVAILABLE, and the edge and the
  [service config](../gen/marquee_policy/service_config.json) do so. Others may act once more when
  they are sent once more.
- **Cost**: units taken from the caller's rate budget at the edge.
"""

_REASONS: Final = """\
## Error reasons

Every error carries a `google.rpc.ErrorInfo` with the domain `marquee` and one of these reasons.

| Reason | Code | When |
| --- | --- | --- |"""


def render_api_page(contracts: Contracts, rules: Sequence[Rule]) -> str:
    """Returns the page."""
    by_service: dict[str, list[Rule]] = {}
    for rule in rules:
        by_service.setdefault(rule.rpc.service, []).append(rule)
    lines = [_INTRODUCTION]
    for service in contracts.services:
        lines += _service(service, by_service[service.name])
    lines += ["## Scopes", "", "| Scope | Allows to |", "| --- | --- |"]
    lines += [f"| `{scope.name}` | {_cell(scope.comment)} |" for scope in contracts.scopes]
    if contracts.reasons:
        lines += ["", _REASONS, *map(_reason, contracts.reasons)]
    return "\n".join(lines) + "\n"


def _service(service: Service, rules: Sequence[Rule]) -> Iterator[str]:
    yield f"## {service.name.rpartition('.')[2]}"
    yield ""
    yield f"`{service.name}`. {_paragraph(service.comment)}"
    yield ""
    for rule in rules:
        yield f"- **{rule.rpc.name}**{_kind(rule.rpc)}: {_paragraph(rule.rpc.comment)}"
        for field in rule.unguarded:
            yield f"  `{field.name}` is not compared with the token: {_paragraph(field.comment)}"
    yield ""
    yield "| RPC | Scope | Subject | Timeout | Retry | Cost |"
    yield "| --- | --- | --- | --- | --- | ---: |"
    for rule in rules:
        yield (
            f"| {rule.rpc.name} | `{rule.scope}` | {_subject(rule)} | {_timeout(rule)} "
            f"| {rule.retry_class} | {rule.cost} |"
        )
    yield ""


def _kind(rpc: Rpc) -> str:
    match rpc.client_streaming, rpc.server_streaming:
        case True, True:
            return " (streams both ways)"
        case True, False:
            return " (client stream)"
        case False, True:
            return " (server stream)"
    return ""


def _subject(rule: Rule) -> str:
    if not rule.subject_field:
        return ""
    return f"`{rule.subject_field}`{', optional' if rule.subject_optional else ''}"


def _timeout(rule: Rule) -> str:
    if rule.default_timeout is None:
        return "none"
    longest = "no limit" if rule.max_timeout is None else f"at most {_seconds(rule.max_timeout)}"
    return f"{_seconds(rule.default_timeout)}, {longest}"


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"


def _reason(reason: Named) -> str:
    code, _, when = reason.comment.partition(":")
    return f"| `{reason.name}` | {_cell(code)} | {_cell(when)} |"


def _paragraph(comment: str) -> str:
    return " ".join(comment.split())


def _cell(text: str) -> str:
    return _paragraph(text).replace("|", "\\|")
