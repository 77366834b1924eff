"""What the edge answers by itself, in place of a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from google.rpc import code_pb2

from marquee_envoy import scopes
from marquee_envoy.status import details_header, json_body


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalReply:
    """One way in which the edge refuses a call, and how it reads to callers."""

    reason: str
    message: str
    http: int | None = None
    """The status in the JSON form; None: whichever of `statuses` it is."""
    code: int
    """The google.rpc.Code."""
    json_code: int | None = None
    """The code in the JSON form, where it is another one."""
    statuses: tuple[int, ...] = ()
    """Meant by these HTTP statuses, which Envoy makes up."""
    token_failures: tuple[range, ...] = ()
    """Meant by these statuses of Envoy's verification of tokens."""
    by_guard: bool = False
    """Whether the token guard refuses for this reason."""
    retry_after_s: int = 0
    """After how many seconds another try may succeed; 0: it says nothing of that."""

    @property
    def as_json(self) -> dict[str, Any]:
        """The body for callers of the JSON form; may hold Envoy's format commands."""
        code = self.code if self.json_code is None else self.json_code
        metadata = {"scope": "%METADATA(ROUTE:marquee:scope)%"} if self._names_scope else None
        return json_body(code, self.message, self.reason, metadata, self.retry_after_s)

    @property
    def as_details(self) -> str:
        """The `grpc-status-details-bin` for gRPC callers; may be one of Envoy's format commands."""
        if self._names_scope:
            return "%METADATA(ROUTE:marquee:scope_missing)%"
        return details_header(self.code, self.message, self.reason, None, self.retry_after_s)

    @property
    def _names_scope(self) -> bool:
        return self.reason == "SCOPE_MISSING"


def _token(reason: str, message: str, *failures: range, by_guard: bool = False) -> LocalReply:
    return LocalReply(
        reason=reason,
        message=message,
        http=401,
        code=code_pb2.UNAUTHENTICATED,
        token_failures=failures,
        by_guard=by_guard,
    )


def _one(failure: int) -> range:
    return range(failure, failure + 1)


_FAILURES_OF_KEYS: Final = range(28, 1000)
"""Whatever is wrong with the keys rather than with the token."""

# The numbers are those of Envoy's source/common/jwt/status.h. The first that fits counts.
LOCAL_REPLIES: Final = (
    _token("TOKEN_MISSING", "the call needs a token: authorization: Bearer ...", _one(1)),
    _token("TOKEN_NOT_YET_VALID", "the token is not valid yet", _one(2)),
    _token("TOKEN_EXPIRED", "the token has expired", _one(3)),
    _token(
        "TOKEN_ALGORITHM_REFUSED",
        "the token must be signed with ES256",
        range(7, 9),
        by_guard=True,
    ),
    _token(
        "TOKEN_MALFORMED",
        "the token is not one that the mesh takes",
        range(4, 24),
        _one(27),
        by_guard=True,
    ),
    _token(
        "TOKEN_WRONG_ISSUER",
        "the token comes from an issuer that is not trusted here",
        _one(24),
    ),
    _token("TOKEN_WRONG_AUDIENCE", "the token is meant for somebody else", _one(25)),
    _token("TOKEN_SIGNATURE_INVALID", "the signature of the token is wrong", _one(26)),
    _token("TOKEN_KEY_UNKNOWN", "the issuer publishes no such key", _one(32)),
    LocalReply(
        reason="KEYS_UNAVAILABLE",
        message="the keys of the tokens' issuer cannot be had: try again",
        http=503,
        code=code_pb2.UNAVAILABLE,
        token_failures=(_FAILURES_OF_KEYS,),
        retry_after_s=1,
    ),
    LocalReply(
        reason="SCOPE_MISSING",
        message=scopes.MESSAGE,
        http=403,
        code=code_pb2.PERMISSION_DENIED,
        statuses=(403,),
    ),
    LocalReply(
        reason="MALFORMED_REQUEST",
        message="the request is malformed",
        code=code_pb2.INVALID_ARGUMENT,
        statuses=(400, 426, 431),
    ),
    LocalReply(
        reason="NO_SUCH_METHOD",
        message="nothing is served at this path",
        http=404,
        code=code_pb2.UNIMPLEMENTED,
        json_code=code_pb2.NOT_FOUND,
        statuses=(404,),
    ),
    LocalReply(
        # Not RESOURCE_EXHAUSTED, which asks callers to try again: it will not get smaller.
        reason="REQUEST_TOO_LARGE",
        message="the request is larger than the edge takes in the JSON form: use gRPC or split it",
        http=413,
        code=code_pb2.INVALID_ARGUMENT,
        statuses=(413,),
    ),
    LocalReply(
        reason="TOO_MANY_REQUESTS",
        message="the caller's budget is used up: try again later",
        http=429,
        code=code_pb2.RESOURCE_EXHAUSTED,
        statuses=(429,),
        retry_after_s=1,
    ),
    LocalReply(
        reason="DEADLINE_EXCEEDED",
        message="the call did not end within its deadline",
        http=504,
        code=code_pb2.DEADLINE_EXCEEDED,
        statuses=(408, 504),
    ),
    LocalReply(
        reason="SERVICE_UNAVAILABLE",
        message="the service cannot be reached at the moment: try again",
        http=503,
        code=code_pb2.UNAVAILABLE,
        statuses=(503,),
        retry_after_s=1,
    ),
    LocalReply(
        reason="EDGE_FAILURE",
        message="the edge failed to answer",
        code=code_pb2.INTERNAL,
        statuses=(500, 502),
    ),
)
