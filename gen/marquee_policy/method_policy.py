"""The shape of a policy. Generated from the contracts by `python -m policy_compiler`; do not edit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPolicy:
    """The policy of one RPC.

    Attributes:
        method: Full path, `/marquee.user.v1.UserService/GetUser`.
        default_timeout: Seconds a call may take when the caller sets no deadline; None: unlimited.
        max_timeout: The longest deadline in seconds a caller may set; None: unlimited.
        retry_safe: Whether a call that failed with UNAVAILABLE may be sent again.
        client_streaming: Whether the request is a stream.
        server_streaming: Whether the reply is a stream.
        scope: The scope a token must carry, as tokens write it: `users.read`.
        subject_field: Dotted path to the ids of the users whose data the call touches; empty: it
            touches no single person's data.
        subject_optional: Whether that field may be empty.
        cost: Units of the caller's rate budget.
    """

    method: str
    default_timeout: float | None
    max_timeout: float | None
    retry_safe: bool
    client_streaming: bool
    server_streaming: bool
    scope: str
    subject_field: str
    subject_optional: bool
    cost: int
